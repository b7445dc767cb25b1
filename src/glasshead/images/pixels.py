"""Pixels of an image table for networks: by row, prepared when they are asked for."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from glasshead.images.decode import FORMATS
from glasshead.images.table import ImageTable

Prepare = Callable[[list[Image.Image]], UInt8[Tensor, "b 3 h w"]]


@dataclass(frozen=True)
class PixelSource:
    """The images in `rows` of a table as `prepare` makes them; called with places in `rows`, on any thread."""

    images: ImageTable
    rows: Int[np.ndarray, " n"]
    prepare: Prepare

    def __call__(self, places: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels at `places`, 0 to 255; ArtifactError where an image is damaged."""
        return self.prepare([self.images.pil(int(row)) for row in self.rows[places.numpy()]])


def common_side(images: ImageTable, rows: Int[np.ndarray, " n"], least: int, most: int) -> int:
    """Return the length in pixels that the shorter side of most images in `rows` has, at least and at most so much.

    Of lengths that are equally frequent, the shortest. Images are not decoded.
    """
    sides = np.array([min(_size(images.encoded(int(row)))) for row in rows])
    lengths, counts = np.unique(sides, return_counts=True)
    return int(np.clip(lengths[counts.argmax()], least, most))


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.size
