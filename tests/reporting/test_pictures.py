import base64
import io

import numpy as np
import pytest
from PIL import Image

from glasshead.reporting.pictures import fitted, picture, thumbnail


def opened(found):
    return Image.open(io.BytesIO(found.data))


def test_what_fits_stays_as_it_is(planted_report):
    pngs = {"a": planted_report.png(), "b": planted_report.png(side=20)}
    found = fitted(pngs, most=sum(map(len, pngs.values())))
    assert {name: each.data for name, each in found.items()} == pngs
    assert (found["b"].width, found["b"].media_type) == (20, "image/png")


def test_the_largest_are_made_smaller_until_all_fit(planted_report):
    pngs = {"small": planted_report.png(), "noise": planted_report.png(side=300, seed=0)}
    found = fitted(pngs, most=20_000)
    assert sum(len(each.data) for each in found.values()) <= 20_000
    assert found["small"].data == pngs["small"]
    assert opened(found["noise"]).format == "WEBP"
    assert opened(found["noise"]).size == (found["noise"].width, found["noise"].height)


def test_a_picture_longer_than_webp_can_be_is_made_to_fit():
    sink = io.BytesIO()
    Image.fromarray(np.zeros((20_000, 2, 3), np.uint8)).save(sink, "PNG")
    found = fitted({"long": sink.getvalue()}, most=0)
    assert max(opened(found["long"]).size) <= 16_383


def test_it_ends_where_nothing_can_be_made_smaller(planted_report):
    found = fitted({"noise": planted_report.png(side=100, seed=0)}, most=1)
    assert max(found["noise"].width, found["noise"].height) <= 64


def test_transparent_parts_become_white():
    sink = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(sink, "PNG")
    found = fitted({"clear": sink.getvalue()}, most=0)
    np.testing.assert_allclose(np.asarray(opened(found["clear"]).convert("RGB")), 255, atol=2)


def test_thumbnails_and_uris_hold_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 5), dtype=np.uint8)
    found = thumbnail(pixels)
    prefix, data = found.uri.split(",")
    assert prefix == "data:image/png;base64"
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).transpose(2, 0, 1), pixels
    )


def test_what_is_no_png_is_refused():
    with pytest.raises(OSError, match="cannot identify"):
        picture(b"<svg onload=alert(1)>")
