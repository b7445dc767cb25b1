"""Pixels of an image table for networks, prepared when they are asked for, and masks resized and cropped alike."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
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

    def __call__(self, indices: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels at `places`, 0 to 255; ArtifactError where an image is damaged."""
        return self.prepare([self.images.pil(int(row)) for row in self.rows[indices.numpy()]])


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


Mask = NDArray[np.bool_]


def masks_as_seen(
    prepare: Prepare, masks: Sequence[Mask | None], pictures: Sequence[Image.Image]
) -> NDArray[np.bool_]:
    """Return masks (n, h, w) as `prepare` makes images of them; none of a picture is False everywhere."""
    drawn = [
        Image.fromarray(np.zeros(picture.size[::-1], bool) if mask is None else mask).convert("RGB")
        for mask, picture in zip(masks, pictures, strict=True)
    ]
    return prepare(drawn)[:, 0].numpy() > 127


def square_mask(box: str | None, picture: Image.Image) -> Mask | None:
    """Return the mask of "x,y,width,height" in a picture's pixels, as planted marks are written; None of None."""
    if box is None:
        return None
    x, y, width, height = map(int, box.split(","))
    mask = np.zeros(picture.size[::-1], bool)
    mask[y : y + height, x : x + width] = True
    return mask
