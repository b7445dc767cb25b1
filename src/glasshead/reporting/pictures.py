"""Pictures inside a page, as data URIs; they are re-encoded if the page would become too large."""

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

QUALITY = 85  # quality of WebP, 0 to 100
LONGEST = 4096  # most pixels of a side after the first re-encoding; WebP can hold 16,383
SHRINK = 0.7  # factor of the sides at each further re-encoding
SMALLEST = 64  # pixels
MINIATURE = 136  # pixels of the longer side; the width of a column of small pictures


class Picture(NamedTuple):
    """An encoded image, its media type and its size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def picture(png: bytes) -> Picture:
    """Return a PNG as a picture, unchanged."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        return Picture(png, "image/png", *image.size)


def thumbnail(pixels: UInt8[np.ndarray, "3 h w"]) -> Picture:
    """Return pixels as a PNG."""
    sink = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.save(sink, "PNG")
    return Picture(sink.getvalue(), "image/png", *image.size)


def miniature(image: Image.Image) -> Picture:
    """Return an RGB image shrunk to sides of at most `MINIATURE` pixels; images up to `SMALLEST` stay lossless."""
    if max(image.size) <= SMALLEST:
        return thumbnail(np.asarray(image).transpose(2, 0, 1))
    return _webp(image, MINIATURE)


def fitted(pngs: Mapping[str, bytes], most: int) -> dict[str, Picture]:
    """Return pictures of at most `most` bytes in total; the largest are re-encoded and then shrunk until they fit."""
    pictures = {name: picture(png) for name, png in pngs.items()}
    while sum(len(encoded.data) for encoded in pictures.values()) > most:
        large = {
            name: encoded
            for name, encoded in pictures.items()
            if encoded.media_type == "image/png" or max(encoded[2:]) > SMALLEST
        }
        if not large:
            break
        name = max(large, key=lambda name: len(large[name].data))
        shrunk_before = pictures[name].media_type != "image/png"
        side = max(pictures[name].width, pictures[name].height)
        pictures[name] = _as_webp(
            pngs[name], int(side * SHRINK) if shrunk_before else min(side, LONGEST)
        )
    return pictures


def _as_webp(png: bytes, longest: int) -> Picture:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        drawn = Image.new("RGB", image.size, "white")
        drawn.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
    return _webp(drawn, longest)


def _webp(image: Image.Image, longest: int) -> Picture:
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    small.save(sink, "WEBP", quality=QUALITY, method=3)
    return Picture(sink.getvalue(), "image/webp", *small.size)
