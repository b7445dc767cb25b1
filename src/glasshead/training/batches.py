"""Where a training's images come from: one uint8 tensor in memory, or a function that is asked some batches ahead."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from glasshead.errors import ParameterError

Take = Callable[[Int[Tensor, " b"]], UInt8[Tensor, "b 3 h w"]]
_CHUNK = 1024  # rows that are read at once when all are


class Batches(Protocol):
    """Labelled images of one size, by row."""

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """The class index of each row, on the CPU."""

    def __len__(self) -> int: ...

    def take(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels of `rows`, 0 to 255, on any device."""

    def stream(self, batches: Sequence[Tensor]) -> Generator[UInt8[Tensor, "b 3 h w"]]:
        """Yield the pixels of each batch of rows, in order."""


@dataclass(frozen=True)
class TensorBatches:
    """All images in one tensor, best on the device that trains."""

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Tensor:
        return self.images[rows.to(self.images.device, non_blocking=True)]

    def stream(self, batches: Sequence[Tensor]) -> Generator[Tensor]:
        yield from map(self.take, batches)


@dataclass(frozen=True)
class StreamedBatches:
    """Images that `source` reads when they are needed: `threads` threads do so up to `ahead` batches in advance.

    An error of `source` reaches the reader at the batch that it concerns.
    """

    source: Take
    labels: Int[Tensor, " n"]
    threads: int = 2
    ahead: int = 4

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Tensor:
        return self.source(rows)

    def stream(self, batches: Sequence[Tensor]) -> Generator[Tensor]:
        waiting: deque[Future[Tensor]] = deque()
        pool = ThreadPoolExecutor(self.threads)
        try:
            for rows in batches:
                waiting.append(pool.submit(self.source, rows))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def choose_batches(
    source: Take, labels: Int[Tensor, " n"], *, budget_bytes: int, device: str = "cpu"
) -> TensorBatches | StreamedBatches:
    """Return all images as one tensor on `device` if they take at most `budget_bytes`, else a stream of them.

    Raises ParameterError where there is no row.
    """
    if not len(labels):
        raise ParameterError("There are no images to train on: the split is empty.")
    rows = torch.arange(len(labels))
    first = source(rows[:1])
    if first.numel() * len(labels) > budget_bytes:
        return StreamedBatches(source, labels)
    images = torch.empty((len(labels), *first.shape[1:]), dtype=torch.uint8, device=device)
    for chunk in rows.split(_CHUNK):
        images[chunk[0] : chunk[-1] + 1] = source(chunk).to(device)
    return TensorBatches(images, labels)
