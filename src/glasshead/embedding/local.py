"""The local engine: encode the images whose content the store does not know, on this machine."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from glasshead.device import Device, choose_device
from glasshead.embedding.store import Embeddings, EmbeddingStore, as_keys
from glasshead.errors import ImageError

logger = logging.getLogger(__name__)

_PREPARED_AHEAD = 1  # batches that are decoded while the encoder is busy

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Images(Protocol):
    """What the engine asks of an image table."""

    def frame(self) -> pd.DataFrame:
        """Return one row an image, with `image_id` and `content_hash` (SHA-256 as hex)."""

    def pil(self, row: int) -> Image.Image:
        """Return the image of `row` as RGB."""


class CountingEncoder:
    """An image encoder on its device, and how many images have gone through it.

    Raises ParameterError if `device` is `cuda` where there is none; `auto` takes CUDA where there is one.
    """

    def __init__(self, encoder: nn.Module, device: Device = "auto") -> None:
        self.device = choose_device(device, "embed.device")
        self.images = 0
        self._encoder = encoder.to(self.device)

    @torch.inference_mode()
    def __call__(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float32[np.ndarray, "b d"]:
        """Return the embeddings of pixels from 0 to 255 at the encoder's input size."""
        embeddings: Tensor = self._encoder(pixels.to(self.device).float() / 255)
        self.images += len(pixels)
        return embeddings.float().cpu().numpy()


def embed_images(
    images: Images,
    encoder: Any,
    store: EmbeddingStore,
    *,
    batch_size: int,
    shard_rows: int,
    device: Device = "auto",
) -> tuple[Embeddings, dict[str, Any]]:
    """Return the embeddings of `images` in row order and a summary; only content new to `store` is encoded.

    A shard of `shard_rows` images, rounded up to whole batches, is stored as soon as it is encoded:
    a killed run loses one at most. The run that resumes it forms the same batches, hence on a CPU the
    same bits.

    Args:
        images: the image table.
        encoder: an `ImageEncoder`, a module from images in [0, 1] to embeddings with `key`, `dimension`
            and `prepare`; it is moved to `device`.
        store: where embeddings are looked up and kept.
        batch_size: images per forward pass.
        shard_rows: images per shard.
        device: `auto` is CUDA where there is one.

    Raises:
        EmbeddingError: the store cannot be written, found before any encoding; or an embedding is not
            finite or zero.
        ImageError: an image cannot be decoded.
        ParameterError: `device` is `cuda` where there is none.
    """
    started = time.perf_counter()
    counted = CountingEncoder(encoder, device)
    frame = images.frame()
    image_id = frame["image_id"].to_numpy(object)
    hashes = np.frombuffer(bytes.fromhex("".join(frame["content_hash"])), np.uint8).reshape(-1, 32)
    _, first, inverse = np.unique(as_keys(hashes), return_index=True, return_inverse=True)
    values, found = _look_up(store, encoder, hashes[first], image_id[first])
    missing = np.sort(first[~found])
    n_cached = len(frame) - len(missing)

    def prepare(rows: np.ndarray) -> Tensor:
        return encoder.prepare([_decode(images, int(row), image_id[row]) for row in rows])

    encoding_started = time.perf_counter()
    with _progress(total=len(frame), completed=n_cached) as advance:
        batches = list(_split(missing, batch_size))
        pixels = _computed_ahead(prepare, batches)
        for shard in _split(batches, math.ceil(shard_rows / batch_size)):
            rows = np.concatenate(shard)
            encoded = np.concatenate([advance(counted(next(pixels))) for _ in shard])
            store.append(encoder.key, hashes[rows], encoded, image_id[rows])
            values[inverse[rows]] = encoded
    encoding_seconds = time.perf_counter() - encoding_started

    logger.info("%d images encoded, %d cached, on %s", counted.images, n_cached, counted.device)
    values = values[inverse]
    return Embeddings(image_id, frame["content_hash"].to_numpy(object), values, encoder.key), {
        "embed/encoded": counted.images,
        "embed/cached": n_cached,
        "embed/images_per_second": counted.images / encoding_seconds if counted.images else None,
        "embed/dimension": encoder.dimension,
        "embed/mean_l2_norm": float(np.linalg.norm(values, axis=1).mean()),
        "embed/seconds": time.perf_counter() - started,
        "embed/device": counted.device,
    }


def _look_up(
    store: EmbeddingStore, encoder: Any, hashes: np.ndarray, image_id: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the store knows, after making sure that it can take what it does not know."""
    values, found = store.read(encoder.key, hashes, encoder.dimension, image_id)
    if found.all():
        return values, found
    store.open_for_writing(encoder.key)  # which lists what a killed run had left unlisted
    return store.read(encoder.key, hashes, encoder.dimension, image_id)


def _decode(images: Images, row: int, image_id: str) -> Image.Image:
    try:
        return images.pil(row)
    except ImageError as error:
        raise ImageError(f"Image {image_id} cannot be decoded: {error}") from error


def _split(items: Any, size: int) -> Iterator[Any]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _computed_ahead(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `function(item)` in order, computed in threads up to `_PREPARED_AHEAD` items ahead."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_PREPARED_AHEAD) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > _PREPARED_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _progress(total: int, completed: int) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
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

        def advance(batch: np.ndarray) -> np.ndarray:
            nonlocal encoded
            encoded += len(batch)
            progress.update(
                task, advance=len(batch), rate=encoded / (time.perf_counter() - started)
            )
            return batch

        yield advance
