"""The pixels of an image table, prepared for networks when they are read, and masks prepared in the same way."""

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
    """The images in `rows` of a table, prepared by `prepare`; called with indices into `rows`, from any thread."""

    images: ImageTable
    rows: Int[np.ndarray, " n"]
    prepare: Prepare

    def __call__(self, indices: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Return the pixels at `indices`, 0 to 255; ArtifactError if an image is damaged."""
        return self.prepare([self.images.pil(int(row)) for row in self.rows[indices.numpy()]])


def common_side(images: ImageTable, rows: Int[np.ndarray, " n"], least: int, most: int) -> int:
    """Return the most frequent shorter side, in pixels, of the images in `rows`, clipped to [`least`, `most`].

    Of equally frequent lengths, the shortest is returned. Images are not decoded: only headers are read.
    """
    sides = np.array([min(_size(images.encoded(int(row)))) for row in rows])
    lengths, counts = np.unique(sides, return_counts=True)
    return int(np.clip(lengths[counts.argmax()], least, most))


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.size


Mask = NDArray[np.bool_]


def masks_as_seen(
    prepare: Prepare, masks: Sequence[Mask | None], images: Sequence[Image.Image]
) -> NDArray[np.bool_]:
    """Return masks (n, h, w), resized and cropped by `prepare` like their images; None gives False everywhere."""
    drawn = [
        Image.fromarray(np.zeros(image.size[::-1], bool) if mask is None else mask).convert("RGB")
        for mask, image in zip(masks, images, strict=True)
    ]
    return prepare(drawn)[:, 0].numpy() > 127


def square_mask(box: str | None, image: Image.Image) -> Mask | None:
    """Return the mask of the planted mark in `box`, "x,y,width,height" in the image's pixels; None for None."""
    if box is None:
        return None
    x, y, width, height = map(int, box.split(","))
    mask = np.zeros(image.size[::-1], bool)
    mask[y : y + height, x : x + width] = True
    return mask
