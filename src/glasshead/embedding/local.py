"""The local engine: encode the images whose content the store does not know, on this machine."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glasshead.device import Device, choose_device, keep_freed_memory, one_thread
from glasshead.embedding import packed
from glasshead.embedding.hashes import HashIndex
from glasshead.embedding.packed import Precision
from glasshead.embedding.peak import matmul_peak
from glasshead.embedding.store import Embeddings, EmbeddingStore
from glasshead.errors import EmbeddingError, ImageError, ParameterError

logger = logging.getLogger(__name__)

_CUDA_BATCH = 512  # images of the first pass on a GPU; it halves where memory ends
_CPU_BATCH = 32  # images of a pass on a CPU, fewer where they are large: activations then stay in a core's cache
_CPU_VALUES = 8 * 3 * 224**2  # of the images of a pass on a CPU

_PRECISIONS: dict[str, tuple[Precision, ...]] = {  # by device, the default first
    "cpu": ("float32", "int8") if packed.is_available() else ("float32",),
    "cuda": ("bfloat16", "float32"),
}

Item = TypeVar("Item")
Result = TypeVar("Result")
Rows = TypeVar("Rows", Tensor, np.ndarray)


@runtime_checkable
class Images(Protocol):
    """What the engine asks of an image table."""

    def ids(self) -> pd.Series:
        """Return the image ids in row order."""

    def hashes(self) -> np.ndarray:
        """Return the SHA-256 of each image's encoded bytes in row order, (n, 32) uint8."""

    def pil(self, row: int) -> Image.Image:
        """Return the image of `row` as RGB."""

    def release(self) -> None:
        """Give back the memory that holds images that were read."""


class CountingEncoder:
    """An image encoder on its device: how many images have gone through it, and with how many operations.

    `precision` is float32 or int8 on a CPU (see `packed`), float32 or bfloat16 on a GPU; None is float32 and bfloat16.
    A batch that does not fit into memory is halved, down to single images, and so are those after it. Threads may
    share it.

    Raises ParameterError if `device` is `cuda` where there is none, or the device does not have the precision.
    """

    def __init__(
        self, encoder: nn.Module, device: Device = "auto", precision: Precision | None = None
    ) -> None:
        self.device = choose_device(device, "embed.device")
        self.precision = choose_precision(precision, self.device)
        self.images = 0
        self.flops = 0.0  # of all images so far
        self._flops_an_image: float | None = None
        self._most = math.inf  # images that fit into memory at once
        self._lock = threading.Lock()
        if self.device == "cuda":
            encoder = encoder.to("cuda", getattr(torch, self.precision))
            self._encoder = encoder.to(memory_format=torch.channels_last)
        elif packed.is_available():
            self._encoder = packed.pack(encoder, self.precision)
        else:
            logger.warning(
                "This PyTorch has no packed linear layers: embedding takes about twice as long"
            )
            self._encoder = encoder

    @torch.inference_mode()
    def __call__(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Tensor:
        """Return the outputs (b, ...) for pixels from 0 to 255 at the input size, on the device."""
        parts: list[Tensor] = []
        while (done := sum(map(len, parts))) < len(pixels):
            part = pixels[done : done + int(min(self._most, len(pixels)))]
            try:
                parts.append(self._encode(part))
            except torch.OutOfMemoryError as error:
                self._halve(len(part), error)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _encode(self, pixels: Tensor) -> Tensor:
        images = pixels.to(self.device, non_blocking=True)
        if self.device == "cuda":
            images = images.to(getattr(torch, self.precision), memory_format=torch.channels_last)
        if self._flops_an_image is None:
            with FlopCounterMode(display=False, custom_mapping=packed.FLOPS) as counter:
                outputs: Tensor = self._encoder(images / 255)
            self._flops_an_image = counter.get_total_flops() / len(pixels)
        else:
            outputs = self._encoder(images / 255)
        with self._lock:
            self.images += len(pixels)
            self.flops += self._flops_an_image * len(pixels)
        return outputs

    def _halve(self, size: int, error: torch.OutOfMemoryError) -> None:
        if size == 1:
            raise EmbeddingError(
                f"One image alone is too much for the memory of {self.device}: {error}. Use a smaller backbone, or "
                "embed.device=cpu."
            ) from error
        if self.device == "cuda":
            torch.cuda.empty_cache()
        with self._lock:
            self._most = min(self._most, size // 2)
        logger.warning("Out of memory with %d images at once: going on with %d", size, size // 2)


@dataclass
class Work:
    """What an engine did: on what, and how many images, operations and seconds of encoding it took.

    `has_peak` says whether it was this machine's processors, so that its matmul peak is what to compare with.
    """

    device: str
    precision: Precision
    batch_size: int
    images: int = 0
    flops: float = 0.0
    encoding_seconds: float = 0.0
    has_peak: bool = True

    def summary(self, embeddings: Embeddings, seconds: float) -> dict[str, Any]:
        """Return the summary of a run of `seconds` in all that led to `embeddings`."""
        n_cached = len(embeddings) - self.images
        shape = list(embeddings.values.shape[1:])
        return {
            "embed/encoded": self.images,
            "embed/cached": n_cached,
            "embed/hit_share": n_cached / len(embeddings),
            "embed/images_per_second": None,
            "embed/shape": shape,
            "embed/mean_l2_norm": _mean_norm(embeddings.values),
            "embed/seconds": seconds,
            "embed/device": self.device,
            "embed/precision": self.precision,
            "embed/batch_size": self.batch_size,
        } | (self._speed() if self.images else {})

    def _speed(self) -> dict[str, float | None]:
        rate = self.flops / self.encoding_seconds
        peak = matmul_peak(self.device) if self.has_peak else None
        return {
            "embed/images_per_second": self.images / self.encoding_seconds,
            "embed/gflops_per_second": rate / 1e9,
            "embed/matmul_peak_gflops_per_second": peak and peak / 1e9,
            "embed/share_of_matmul_peak": peak and rate / peak,
        }


def choose_precision(wanted: Precision | None, device: str) -> Precision:
    """Return `wanted`, or the default of `device`; raises ParameterError where it does not have it."""
    here = _PRECISIONS[device]
    if wanted and wanted not in here:
        raise ParameterError(
            f"embed.precision is {wanted}, but {device} computes in {' or '.join(here)} here."
        )
    return wanted or here[0]


def embed_images(
    images: Images,
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

    A shard of `shard_rows` images, rounded up to whole batches, is stored as soon as it is encoded:
    a killed run loses one at most. The run that resumes it forms the same batches; on a CPU each is computed by one
    thread, hence the same bits, however many threads there are.

    Args:
        images: the image table.
        encoder: an `ImageEncoder`, a module from images in [0, 1] to outputs with `key`, `shape` (of one
            output) and `prepare`; on a GPU it is moved there.
        store: where outputs are looked up and kept.
        batch_size: images per forward pass; None chooses by the device and the size of the images.
        shard_rows: images per shard.
        device: `auto` is CUDA where there is one.
        precision: what the encoder computes in, see `CountingEncoder`.
        dtype: `float32` or `float16`, of what is stored; float16 halves the space at a relative error of 2**-11.

    Raises:
        EmbeddingError: the store cannot be written, found before any encoding; an output is not
            finite or all zero; or one image alone does not fit into memory.
        ImageError: an image cannot be decoded.
        ParameterError: `device` is `cuda` where there is none, or it does not have the precision.
    """
    started = time.perf_counter()
    encoder_key: str = encoder.key  # before the encoder takes another precision
    counted = CountingEncoder(encoder, device, precision)
    key = f"{encoder_key}.{counted.precision}.{dtype}"
    image_id, hashes = images.ids(), images.hashes()
    missing = missing_rows(store, key, hashes)
    n_cached = len(hashes) - len(missing)
    batch_size = batch_size or choose_batch_size(counted.device, encoder.input_size)

    def prepare(rows: np.ndarray) -> Tensor:
        pixels = encoder.prepare([_decode(images, int(row), image_id) for row in rows])
        return pixels.pin_memory() if counted.device == "cuda" else counted(pixels)

    def finish(part: Tensor) -> Tensor:
        return counted(part) if counted.device == "cuda" else part

    keep_freed_memory()
    encoding_started = time.perf_counter()
    with progress_bar(total=len(hashes), completed=n_cached) as advance, one_thread() as threads:
        batches = list(split(missing, batch_size))
        shard_batches = math.ceil(shard_rows / batch_size)
        # On a CPU what waits is small, and the threads go on while a shard is written.
        ahead = 2 * threads if counted.device == "cuda" else max(2 * threads, shard_batches)
        parts = _computed_ahead(prepare, batches, threads, ahead)
        for shard in split(batches, shard_batches):
            rows = np.concatenate(shard)
            outputs = torch.cat([advance(finish(next(parts))) for _ in shard])
            store.append(
                key,
                hashes[rows],
                outputs.float().cpu().numpy().astype(dtype),
                image_id.iloc[rows].to_numpy(object),
            )
        if len(missing):
            store.open_for_writing(key)  # another run may have written in between
    seconds = time.perf_counter() - encoding_started

    logger.info("%d images encoded, %d cached, on %s", counted.images, n_cached, counted.device)
    embeddings = Embeddings(image_id, hashes, store.rows(key, hashes), encoder_key, key)
    work = Work(
        counted.device, counted.precision, batch_size, counted.images, counted.flops, seconds
    )
    return embeddings, work.summary(embeddings, time.perf_counter() - started)


def missing_rows(store: EmbeddingStore, key: str, hashes: np.ndarray) -> np.ndarray:
    """Return the first rows of each content that the store lacks, after making sure that it can take them."""
    first = HashIndex(hashes).first()
    missing = first[~store.rows(key, hashes[first]).found]
    if not len(missing):
        return missing
    store.open_for_writing(key)  # which lists what a killed run had left unlisted
    return first[~store.rows(key, hashes[first]).found]


def choose_batch_size(device: str, input_size: int) -> int:
    """Return how many images of `input_size` pixels go through `device` at once."""
    if device == "cuda":
        return _CUDA_BATCH
    return max(1, min(_CPU_BATCH, _CPU_VALUES // (3 * input_size**2)))


def _mean_norm(values: Any) -> float:
    """Return the mean L2 norm of up to 10,000 outputs, or of their positions' vectors."""
    some = values[:10_000]
    return float(np.linalg.norm(some.reshape(-1, some.shape[-1]), axis=1).mean())


def _decode(images: Images, row: int, image_id: pd.Series) -> Image.Image:
    try:
        return images.pil(row)
    except ImageError as error:
        raise ImageError(f"Image {image_id.iloc[row]} cannot be decoded: {error}") from error


def split(items: Any, size: int) -> Iterator[Any]:
    """Yield `items` in slices of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _computed_ahead(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` in order, computed by `threads` threads up to `ahead` items ahead."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def progress_bar(total: int, completed: int) -> Iterator[Callable[[Rows], Rows]]:
    """Show a bar on stderr; what is yielded passes an encoded batch on and advances by its rows."""
    columns = (
        TextColumn("embed"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]:,.0f}} images/s, {completed:,} cached"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("embed", total=total, completed=completed, rate=0.0)
        started = time.perf_counter()
        encoded = 0

        def advance(batch: Rows) -> Rows:
            nonlocal encoded
            encoded += len(batch)
            progress.update(
                task, advance=len(batch), rate=encoded / (time.perf_counter() - started)
            )
            return batch

        yield advance
