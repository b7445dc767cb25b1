"""Corruptions of a photograph at any strength: noise, blur and compression.

After Hendrycks and Dietterich 2019, arXiv:1903.12261, but applied before the picture is resized, as a camera or a web
site would, and in units that do not depend on the picture.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from glasshead.images.decode import decode_rgb

# (RGB picture, strength, random generator) to the corrupted picture, of the same size
Corrupt = Callable[[Image.Image, float, np.random.Generator], Image.Image]


class Corruption(NamedTuple):
    """A corruption and the unit of its strength."""

    corrupt: Corrupt
    unit: str


def add_gaussian_noise(
    picture: Image.Image, strength: float, draw: np.random.Generator
) -> Image.Image:
    """Add independent Gaussian noise to each pixel and channel; `strength` is its standard deviation in 1/255.

    A generator in the same state gives the same noise at every strength, only scaled. Values are rounded to integers
    and clipped to 0 to 255.
    """
    pixels = np.asarray(picture, dtype=np.float32)
    noisy = pixels + strength * draw.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def blur(picture: Image.Image, strength: float, draw: np.random.Generator) -> Image.Image:
    """Blur by a Gaussian, as Pillow approximates it; `strength` is its standard deviation in % of the shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(strength / 100 * min(picture.size)))


def compress(picture: Image.Image, strength: float, draw: np.random.Generator) -> Image.Image:
    """Encode and decode the picture as JPEG of quality `strength`, 1 to 100, with 4:2:0 chroma subsampling."""
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=int(strength), subsampling="4:2:0")
    return decode_rgb(sink.getvalue())


CORRUPTIONS = {
    "gaussian_noise": Corruption(add_gaussian_noise, "1/255"),
    "gaussian_blur": Corruption(blur, "% of the shorter side"),
    "jpeg": Corruption(compress, "quality"),
}
