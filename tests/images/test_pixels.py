"""Pixels as networks read them, and masks that lie on them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from glasshead.errors import ArtifactError
from glasshead.images.pixels import PixelSource, common_side, masks_as_seen, square_mask
from glasshead.images.sources.base import plain_record
from glasshead.images.table import ImageTable
from glasshead.models.processor import resize_and_crop

SIZES = [(20, 30), (40, 24), (24, 24), (90, 100), (24, 50)]


@pytest.fixture
def images() -> ImageTable:
    return ImageTable.from_records((record(row, size) for row, size in enumerate(SIZES)), ("cat",))


def record(row: int, size: tuple[int, int]):
    data = io.BytesIO()
    Image.new("RGB", size, (row, 100, 200)).save(data, "PNG")
    return plain_record(f"train/{row}", data.getvalue(), "cat", None)


def test_places_are_those_of_the_rows(images):
    source = PixelSource(images, np.array([3, 0, 2]), lambda found: resize_and_crop(found, 8))
    pixels = source(torch.tensor([2, 0]))
    assert pixels.shape == (2, 3, 8, 8)
    assert pixels.dtype == torch.uint8
    assert pixels[:, 0, 0, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("rows", "least", "most", "expected"),
    [
        ([0, 1, 2, 3, 4], 16, 64, 24),
        ([3], 16, 64, 64),
        ([0], 32, 64, 32),
        ([0, 1], 16, 64, 20),
    ],
)
def test_the_most_frequent_shorter_side_within_bounds(images, rows, least, most, expected):
    assert common_side(images, np.array(rows), least, most) == expected


def test_a_damaged_image_is_named(images, monkeypatch):
    monkeypatch.setattr("glasshead.images.table.content_hash", lambda data: "another")
    source = PixelSource(images, np.arange(5), lambda found: resize_and_crop(found, 8))
    with pytest.raises(ArtifactError, match="Image train/1 in the image table is damaged"):
        source(torch.tensor([1]))


def test_masks_are_resized_and_cropped_as_their_pictures():
    picture = Image.new("RGB", (16, 8))
    mask = np.zeros((8, 16), bool)
    mask[:, 4:8] = True  # the left half of the middle square
    seen = masks_as_seen(lambda found: resize_and_crop(found, 4), [mask, None], [picture] * 2)
    np.testing.assert_array_equal(seen[0], np.tile([True, True, False, False], (4, 1)))
    assert not seen[1].any()


def test_a_square_is_where_its_box_says():
    mask = square_mask("1,2,3,2", Image.new("RGB", (6, 5)))
    assert [part.tolist() for part in np.nonzero(mask)] == [[2, 2, 2, 3, 3, 3], [1, 2, 3] * 2]
    assert square_mask(None, Image.new("RGB", (6, 5))) is None
