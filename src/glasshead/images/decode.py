"""The one conversion from encoded bytes to RGB pixels; every stage that looks at an image goes through it.

- Formats: JPEG, PNG, BMP, GIF, WebP, TIFF and PPM. Anything else is refused before a decoder sees it.
- Size: images of more than `MAX_PIXELS` pixels are refused by their header. Truncated files are refused, never padded.
- Large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, the smallest with a shorter side of `LEAST_SIDE` pixels or
  more: several times faster, in a fraction of the memory. After the resizing for a network (to 256 pixels, say), pixels
  differ by less than one level of 255 on average.
- Frames: the first frame or page is used. Orientation: the one in EXIF is applied.
- 16-bit samples keep their high byte, as Pillow does with 16-bit colour; a colour key on 16-bit grey is ignored.
- Transparency (alpha channel or colour key) is composited on white.
- Grey, palette, CMYK, YCbCr and LAB are converted by Pillow's formulas; embedded colour profiles are ignored.
- Floating-point and 32-bit images are refused: nothing states the range of their values.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from glasshead.errors import ImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**26  # 67 megapixels: more than nearly every camera has; 200 MB as RGB
LEAST_SIDE = 640  # pixels that the shorter side of a large JPEG keeps
PNG_TRAILER = b"IEND\xaeB`\x82"


class Decoded(NamedTuple):
    """An image as RGB, its original Pillow mode, whether it has more than one frame, and its width and height.

    `size` is that of the file with its EXIF orientation; `image` may be smaller.
    """

    image: Image.Image
    mode: str
    animated: bool
    size: tuple[int, int]


def decode_rgb(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image in `data` as RGB; the only error it raises is ImageError, with the reason."""
    return decode(data, max_pixels).image


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Return the image in `data` as RGB, with its original mode; the only error it raises is ImageError."""
    if not data:
        raise ImageError("empty file")
    try:
        return _decode(data, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise ImageError(f"not a readable image of an allowed format ({formats})") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it checks before ours
        raise ImageError(f"too large: {error}") from None
    except Exception as error:  # decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot be decoded: {reason}") from error


def _decode(data: bytes, max_pixels: int) -> Decoded:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        check_pixels(image, max_pixels)
        if image.format == "PNG" and PNG_TRAILER not in data:  # Pillow accepts this truncation
            raise ImageError("cannot be decoded: PNG ends without its IEND chunk")
        width, height = image.size
        image.draft(None, (LEAST_SIDE, LEAST_SIDE))  # does nothing to other formats than JPEG
        image.load()
        first = image.copy()  # some decoders leave the first frame when they look for a second
        animated = getattr(image, "is_animated", False)
        turned = first.getexif().get(ExifTags.Base.Orientation, 1) > 4
        ImageOps.exif_transpose(first, in_place=True)
        size = (height, width) if turned else (width, height)
        return Decoded(to_rgb(first), image.mode, animated, size)


def check_pixels(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ImageError if an image that was opened, but not decoded, has more pixels than `max_pixels`."""
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        raise ImageError(f"too large: {size} pixels, the limit is {max_pixels} in all")


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a decoded image as RGB, by the module's rules; ImageError if the range of its values is unknown."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 0xFFFF:
            raise ImageError("32-bit image: its range is unknown; save it with 8 or 16 bits")
        image = Image.fromarray((samples >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ImageError("floating-point image: its range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
