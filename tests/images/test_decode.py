"""Golden pixels of the one conversion, and the promise that damaged bytes give ImageError or the true image."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glasshead.errors import ImageError
from glasshead.images.decode import decode, decode_rgb
from glasshead.models.processor import resize_and_crop


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def first_pixel(data: bytes) -> tuple[int, ...]:
    image = decode_rgb(data)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


def filled(mode: str, colour) -> Image.Image:
    return Image.new(mode, (4, 3), colour)


def palette_with_transparent_entry() -> bytes:
    image = filled("P", 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    return encode(image, transparency=bytes([0, 255]))


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    pixels[:10] = np.arange(32, dtype=np.uint8)[:, None] * 8
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(filled("RGB", (10, 20, 30))), (10, 20, 30)),
        (encode(filled("1", 1)), (255, 255, 255)),
        (encode(filled("L", 77)), (77, 77, 77)),
        (encode(Image.fromarray(np.full((3, 4), 0xABCD, np.uint16))), (0xAB,) * 3),
        (encode(Image.fromarray(np.full((3, 4), 0xABCD, np.uint16)), "TIFF"), (0xAB,) * 3),
        (b"P6 1 1 65535 " + bytes([0xAB, 0xFF, 0x10, 0x00, 0x00, 0x01]), (0xAB, 0x10, 0x00)),
        (b"P5 1 1 65535 " + bytes([0xAB, 0xCD]), (0xAB,) * 3),
        (encode(filled("RGBA", (255, 0, 0, 0))), (255, 255, 255)),
        (encode(filled("RGBA", (255, 0, 0, 51))), (255, 204, 204)),
        (encode(filled("LA", (0, 51))), (204, 204, 204)),
        (encode(filled("RGB", (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255)),
        (palette_with_transparent_entry(), (255, 255, 255)),
        (encode(filled("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (encode(filled("RGB", (10, 20, 30)), "BMP"), (10, 20, 30)),
        (encode(filled("RGB", (10, 20, 30)), "WEBP", lossless=True), (10, 20, 30)),
        (encode(filled("P", 0).convert("RGB"), "GIF"), (0, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_the_documented_rgb(data, expected):
    assert first_pixel(data) == expected


def test_cmyk_jpeg_is_converted():
    red = first_pixel(encode(filled("CMYK", (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.allclose(red, (255, 0, 0), atol=6)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: to be shown, it is turned by 90 degrees clockwise
    turned = decode_rgb(encode(image, "JPEG", exif=exif, quality=95))
    assert turned.size == (8, 16)
    assert turned.getpixel((4, 2)) > (200, 200, 200)
    assert turned.getpixel((4, 13)) < (50, 50, 50)


def large_photograph(size: tuple[int, int]) -> Image.Image:
    """Sharp edges, smooth shades and fine grain, as in photographs."""
    generator = np.random.default_rng(0)
    tiles = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    shades = tiles.resize(size, Image.Resampling.BICUBIC)
    edges = tiles.resize(size, Image.Resampling.NEAREST)
    mixed = np.asarray(Image.blend(shades, edges, 0.5)) + generator.normal(0, 6, (*size[::-1], 3))
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "decoded_size"),
    [
        ((1280, 1279), (1280, 1279)),
        ((1280, 1280), (640, 640)),
        ((3000, 2560), (750, 640)),
        ((12000, 1300), (6000, 650)),
    ],
)
def test_large_jpegs_are_decoded_at_a_reduced_scale(size, decoded_size):
    decoded = decode(encode(Image.new("RGB", size), "JPEG"))
    assert (decoded.image.size, decoded.size) == (decoded_size, size)
    assert decode_rgb(encode(Image.new("RGB", size), "PNG")).size == size


def test_the_size_of_a_reduced_jpeg_is_that_of_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encode(Image.new("RGB", (3000, 2560)), "JPEG", exif=exif))
    assert (decoded.image.size, decoded.size) == ((640, 750), (2560, 3000))


def test_the_reduced_scale_changes_hardly_anything_that_a_network_sees(monkeypatch):
    data = encode(large_photograph((3840, 2880)), "JPEG", quality=90, subsampling=0)
    reduced = resize_and_crop([decode_rgb(data)], 256, "bicubic").float()
    monkeypatch.setattr("glasshead.images.decode.LEAST_SIDE", 10**6)
    full = resize_and_crop([decode_rgb(data)], 256, "bicubic").float()
    difference = (reduced - full).abs()
    assert 0 < difference.mean() < 1
    assert difference.max() < 20


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame_and_is_flagged(form):
    frames = [filled("RGB", (255, 0, 0)), filled("RGB", (0, 0, 255))]
    options = {"lossless": True} if form == "WEBP" else {}
    decoded = decode(encode(frames[0], form, save_all=True, append_images=frames[1:], **options))
    assert decoded.animated
    assert decoded.image.getpixel((0, 0)) == (255, 0, 0)
    assert not decode(encode(frames[0], form, **options)).animated


def test_the_original_mode_is_reported():
    assert decode(encode(filled("L", 1))).mode == "L"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "allowed format"),
        (encode(filled("F", 0.5), "TIFF"), "floating-point"),
        (encode(filled("I", 1 << 20), "TIFF"), "32-bit"),
        (encode(photograph(), "JPEG")[:-20], "cannot be decoded: image file is truncated"),
        (encode(filled("RGB", 0))[:-1], "IEND"),
    ],
)
def test_what_is_refused_says_why(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode_rgb(data)


def test_the_pixel_limit_is_inclusive():
    data = encode(filled("L", 0))
    assert decode_rgb(data, max_pixels=12).size == (4, 3)
    with pytest.raises(ImageError, match="4 x 3 pixels, the limit is 11"):
        decode_rgb(data, max_pixels=11)


ENCODED = {
    "jpeg": encode(photograph(), "JPEG"),
    "progressive jpeg": encode(photograph(), "JPEG", progressive=True),
    "png": encode(photograph()),
    "gif": encode(photograph(), "GIF"),
    "webp": encode(photograph(), "WEBP"),
    "bmp": encode(photograph(), "BMP"),
    "tiff": encode(photograph(), "TIFF"),
    "ppm": encode(photograph(), "PPM"),
}


@settings(max_examples=60)
@given(form=st.sampled_from(sorted(ENCODED)), fraction=st.floats(0, 1, exclude_max=True))
def test_a_truncated_image_is_refused_or_whole_never_padded(form, fraction):
    whole = ENCODED[form]
    try:
        image = decode_rgb(whole[: int(fraction * len(whole))])
    except ImageError:
        return
    assert np.array_equal(image, decode_rgb(whole))


@settings(max_examples=200)
@given(
    form=st.sampled_from(sorted(ENCODED)),
    changes=st.lists(
        st.tuples(st.integers(0, 10**4), st.binary(min_size=1, max_size=4)), min_size=1, max_size=5
    ),
)
def test_mutated_bytes_give_an_image_or_an_image_error(form, changes):
    data = bytearray(ENCODED[form])
    for place, patch in changes:
        start = place % len(data)
        data[start : start + len(patch)] = patch
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Pillow warns of odd metadata and of large sizes that we then refuse
        try:
            image = decode_rgb(bytes(data), max_pixels=10**6)
        except ImageError:
            return
    assert image.mode == "RGB"
    assert image.width * image.height <= 10**6
