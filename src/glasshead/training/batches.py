"""The images of a training, in one uint8 tensor or streamed from a function; their statistics."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from glasshead.device import computed_ahead
from glasshead.errors import ParameterError

Take = Callable[[Int[Tensor, " b"]], UInt8[Tensor, "b 3 h w"]]
_CHUNK = 512  # rows read at once when all are read


@dataclass(frozen=True)
class TensorBatches:
    """Labelled images of one size in one tensor, preferably on the training device; labels are on the CPU."""

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels of `rows`, 0 to 255."""
        return self.images[rows.to(self.images.device, non_blocking=True)]

    def stream(self, batches: Sequence[Tensor]) -> Generator[UInt8[Tensor, "b 3 h w"]]:
        """Yield the pixels of each batch of rows, in order."""
        yield from map(self.take, batches)


@dataclass(frozen=True)
class StreamedBatches:
    """Labelled images of one size that `take` reads on demand.

    `stream` reads in `threads` threads up to `ahead` batches in advance. An error of `take` is raised at the batch that
    it concerns.
    """

    take: Take
    labels: Int[Tensor, " n"]
    threads: int = 2
    ahead: int = 4

    def __len__(self) -> int:
        return len(self.labels)

    def stream(self, batches: Sequence[Tensor]) -> Generator[UInt8[Tensor, "b 3 h w"]]:
        """Yield the pixels of each batch of rows, in order."""
        return computed_ahead(self.take, batches, self.threads, self.ahead)


Batches = TensorBatches | StreamedBatches


def choose_batches(
    source: Take, labels: Int[Tensor, " n"], *, budget_bytes: int, device: str = "cpu"
) -> Batches:
    """Return all images as one tensor on `device` if they take at most `budget_bytes`, else a stream of them.

    Raises ParameterError if there are no rows.
    """
    if not len(labels):
        raise ParameterError("There are no images to train on: the split is empty. Add images.")
    rows = torch.arange(len(labels))
    first = source(rows[:1])
    if first.numel() * len(labels) > budget_bytes:
        return StreamedBatches(source, labels)
    images = torch.empty((len(labels), *first.shape[1:]), dtype=torch.uint8, device=device)
    for chunk in rows.split(_CHUNK):
        images[chunk[0] : chunk[-1] + 1] = source(chunk).to(device)
    return TensorBatches(images, labels)


Colour = tuple[float, float, float]


def channel_statistics(batches: Batches) -> tuple[Colour, Colour]:
    """Return mean and standard deviation of all pixels by channel, in [0, 1], from exact integer sums."""
    sums = torch.zeros(2, 3, dtype=torch.int64)
    pixels = 0
    for chunk in batches.stream(torch.arange(len(batches)).split(_CHUNK)):
        values = chunk.long()
        moments = torch.stack([values, values**2]).sum(dim=(1, 3, 4))
        sums += moments.cpu()
        pixels += chunk[:, 0].numel()
    mean, square = sums.double() / pixels
    std = (square - mean**2).clamp(min=0).sqrt()
    return _colour(mean / 255), _colour(std / 255)


def evenly_spaced(rows: int, most: int) -> Int[Tensor, " m"]:
    """Return at most `most` indices, evenly spread over `rows` rows."""
    return torch.linspace(0, rows - 1, min(rows, most)).round().long()


def _colour(values: Tensor) -> Colour:
    red, green, blue = values.tolist()
    return red, green, blue
