"""Mean and spread of the pixels that a network is normalised by."""

import torch
from jaxtyping import Int
from torch import Tensor

from glasshead.training.batches import Batches

Colour = tuple[float, float, float]
_CHUNK = 512  # images at once


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
    """Return up to `most` of `rows` indices, spread over all of them whatever their order."""
    return torch.linspace(0, rows - 1, min(rows, most)).round().long()


def _colour(values: Tensor) -> Colour:
    red, green, blue = values.tolist()
    return red, green, blue
