"""The local engine: it encodes, on this machine, the images whose outputs are not in the store."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from glasshead.device import Device, computed_ahead, copied_ahead, keep_freed_memory, torch_threads
from glasshead.embedding.counting import CountingEncoder
from glasshead.embedding.engines import HashedImages, Work, progress_bar
from glasshead.embedding.hashes import HashIndex, PixelImages
from glasshead.embedding.store import Embeddings, EmbeddingStore, TakenRows
from glasshead.errors import ArtifactError, EmbeddingError, ImageError
from glasshead.models.packed import Precision, is_convolutional

logger = logging.getLogger(__name__)

_CUDA_BATCH = 512  # images in one pass on a GPU, fewer once they do not fit into memory
# images in one pass on a CPU, fewer if they are large, so that activations stay in a core's cache
_CPU_BATCH = 32
_CPU_VALUES = 8 * 3 * 224**2  # the most pixel values in one pass on a CPU
_CPU_CONVOLVED = (
    2 * 3 * 224**2
)  # the same for convolutional networks, whose maps are large at first
_OUTPUT_BYTES = 2**26  # of outputs that may wait while a shard is written, so that threads go on
_PINNED_BYTES = 2**31  # of pixels that may wait to be copied to a GPU
_NAMED = 10  # the most images that an error names


@runtime_checkable
class Images(HashedImages, Protocol):
    """What this engine needs of an image table."""

    def pil(self, row: int) -> Image.Image:
        """Return the image of `row` as RGB."""


def embed_images(
    images: Images | PixelImages,
    encoder: Any,
    store: EmbeddingStore,
    *,
    batch_size: int | None = None,
    shard_rows: int = 1024,
    device: Device = "auto",
    precision: Precision | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> tuple[Embeddings, dict[str, Any]]:
    """Return the outputs of `encoder` for `images` in row order and a summary; only content new to `store` is encoded.

    A shard of `shard_rows` images, rounded up to whole batches, is stored once it is encoded, so that a killed run
    loses at most one shard. The next run forms the same batches. On a CPU, one thread computes each batch, so that
    results do not depend on the number of threads.

    Args:
        images: the image table, or `PixelImages`.
        encoder: an `ImageEncoder`, or another module from images in [0, 1] to outputs with `key`, `shape`
            (of one output), `input_size` and `prepare`; it is neither moved nor changed.
        store: where outputs are looked up and kept.
        batch_size: images per forward pass; None chooses by the device and the size of the images.
        shard_rows: images per shard.
        device: `auto` is CUDA where there is one.
        precision: what the encoder computes in, see `CountingEncoder`.
        dtype: the stored values' type, `float32` or `float16`; float16 halves the space at a relative error of 2**-11.

    Raises:
        EmbeddingError: the store cannot be written (checked before anything is encoded); an output is not
            finite or is all zero; or a single image does not fit into memory.
        ImageError: images cannot be decoded, or are damaged in the table; the outputs of all others are stored.
        ParameterError: `device` is `cuda` without a GPU, or does not support `precision`.
    """
    started = time.perf_counter()
    encoder_key: str = encoder.key  # before the encoder takes another precision
    counted = CountingEncoder(encoder, device, precision)
    key = f"{encoder_key}.{counted.precision}.{dtype}"
    image_id, hashes = images.ids(), images.hashes()
    missing = missing_rows(store, key, hashes)
    n_cached = len(hashes) - len(missing)
    batch_size = batch_size or choose_batch_size(counted.device, encoder)
    on_gpu = counted.device != "cpu"
    read = _Reader(images, encoder)

    def encode(pixels: Tensor) -> Tensor:
        return counted(encoder.prepare(pixels) if isinstance(images, PixelImages) else pixels)

    def ahead(rows: np.ndarray) -> Tensor:
        return read(rows).pin_memory() if on_gpu else encode(read(rows))

    keep_freed_memory()
    encoding_started = time.perf_counter()
    with (
        _memory_explained(),
        progress_bar(total=len(hashes), completed=n_cached) as advance,
        torch_threads(1) as threads,
    ):
        batches = list(split(missing, batch_size))
        shard_batches = math.ceil(shard_rows / batch_size)
        depth = _depth(images, encoder, batch_size, shard_batches, threads, on_gpu)
        with closing(computed_ahead(ahead, batches, threads, depth)) as computed:
            encoded = map(encode, copied_ahead(computed, counted.device)) if on_gpu else computed
            for shard in split(batches, shard_batches):
                rows = np.concatenate(shard)
                outputs = torch.cat([advance(next(encoded)) for _ in shard]).float().cpu()
                rows, outputs = read.sound(rows, outputs)
                if len(rows):
                    names = TakenRows(image_id, rows)
                    store.append(key, hashes[rows], outputs.numpy().astype(dtype), names)
                images.release()
        if len(missing):
            store.open_for_writing(key)  # lists what another run wrote meanwhile
    seconds = time.perf_counter() - encoding_started
    check_failures(read.failures, image_id)

    logger.info("%d images encoded, %d cached, on %s", counted.images, n_cached, counted.device)
    embeddings = Embeddings(image_id, hashes, store.rows(key, hashes), encoder_key, key)
    work = Work(
        counted.device, counted.precision, batch_size, counted.images, counted.flops, seconds
    )
    return embeddings, work.summary(embeddings, time.perf_counter() - started)


class _Reader:
    """Reads batches as pixels; `failures` maps the rows of unreadable images to the reason."""

    def __init__(self, images: Images | PixelImages, encoder: Any) -> None:
        self._images, self._encoder = images, encoder
        self.failures: dict[int, str] = {}

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Return the pixels of `rows`; unreadable images are black."""
        if isinstance(self._images, PixelImages):
            return self._images.batch(rows)
        return self._encoder.prepare([self._decode(self._images, row) for row in rows.tolist()])

    def sound(self, rows: np.ndarray, outputs: Tensor) -> tuple[np.ndarray, Tensor]:
        """Return the readable rows and their outputs."""
        if not self.failures:
            return rows, outputs
        sound = ~np.isin(rows, list(self.failures))
        return rows[sound], outputs[sound]

    def _decode(self, images: Images, row: int) -> Image.Image:
        try:
            return images.pil(row)
        except (ImageError, ArtifactError) as error:
            self.failures[row] = str(error)
            return Image.new("RGB", (self._encoder.input_size,) * 2)


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Turn out-of-memory errors of a GPU into EmbeddingError, except those on which a batch is halved."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EmbeddingError(
            f"A batch, or the outputs of a shard, do not fit into the GPU's memory: {error}. Lower embed.batch_size or "
            "embed.shard_rows."
        ) from error


def _depth(
    images: Images | PixelImages,
    encoder: Any,
    batch_size: int,
    shard_batches: int,
    threads: int,
    on_gpu: bool,
) -> int:
    """Return how many batches may wait: as pixels for a GPU, or as outputs for a shard on a CPU."""
    if not on_gpu:
        outputs = 4 * batch_size * math.prod(encoder.shape)
        return max(2 * threads, min(shard_batches, _OUTPUT_BYTES // outputs))
    pixels = 3 * encoder.input_size**2
    if isinstance(images, PixelImages):
        pixels = images.batch(np.array([0])).nbytes
    return max(2, min(2 * threads, _PINNED_BYTES // (batch_size * pixels)))


def missing_rows(store: EmbeddingStore, key: str, hashes: np.ndarray) -> np.ndarray:
    """Return the first row of each content that the store lacks, after checking that the store is writable."""
    first = HashIndex(hashes).first()
    missing = first[~store.rows(key, hashes).found[first]]
    if not len(missing):
        return missing
    store.open_for_writing(key)  # also lists shards that a killed run left unlisted
    return first[~store.rows(key, hashes).found[first]]


def choose_batch_size(device: str, encoder: Any) -> int:
    """Return how many images of the encoder's input size go through `device` at once."""
    if device == "cuda":
        return _CUDA_BATCH
    values = _CPU_CONVOLVED if is_convolutional(encoder) else _CPU_VALUES
    return max(1, min(_CPU_BATCH, values // (3 * encoder.input_size**2)))


def check_failures(failures: dict[int, str], image_id: pd.Series) -> None:
    """Raise ImageError if there are `failures` (row → reason); the message names the first ones."""
    if failures:
        named = [f"{image_id.iloc[row]} ({failures[row]})" for row in sorted(failures)[:_NAMED]]
        raise ImageError(
            f"{len(failures)} images cannot be embedded: {', '.join(named)}{', …' * (len(failures) > _NAMED)}. "
            "The embeddings of all others are stored. Remove these images from the source, and run "
            "`kedro run --pipelines=ingest,preprocess,embed`."
        )


def split(items: Any, size: int) -> Iterator[Any]:
    """Yield `items` in slices of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
