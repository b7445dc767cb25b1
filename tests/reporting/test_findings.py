"""The images that show a finding: each once, small, of those that are there."""

import io

import pytest
from PIL import Image

from glasshead.errors import ArtifactError
from glasshead.reporting.findings import SHOWN_ROWS, shown_ids, shown_images
from glasshead.reporting.pictures import MINIATURE


def listed(rows):
    return {"rows": rows}


def test_the_first_images_of_each_finding_are_shown_each_once():
    many = [str(row) for row in range(20)]
    assert shown_ids([listed(many), listed(["3", "x"]), listed([])]) == [*many[:SHOWN_ROWS], "x"]


def test_images_come_with_label_and_answer_and_those_that_are_gone_are_left_out(planted_report):
    images = planted_report.make_images(["a", "b", "c"], label="dog")
    found = shown_images(["c", "gone", "a"], images, {"a": "says cat, 0.9"})
    assert {name: (each.label, each.answer) for name, each in found.items()} == {
        "a": ("dog", "says cat, 0.9"),
        "c": ("dog", ""),
    }


@pytest.mark.parametrize(("side", "shown"), [(MINIATURE, MINIATURE), (400, MINIATURE), (9, 9)])
def test_large_images_are_made_small_and_small_ones_stay_as_they_are(planted_report, side, shown):
    [found] = shown_images(["a"], planted_report.make_images(["a"], side=side), {}).values()
    with Image.open(io.BytesIO(found.picture.data)) as image:
        assert image.size == (found.picture.width, found.picture.height) == (shown, shown)
        assert image.convert("RGB").getpixel((4, 4)) == pytest.approx((200, 200, 200), abs=2)


def test_a_damaged_image_is_refused(planted_report, monkeypatch):
    images = planted_report.make_images(["a"])
    monkeypatch.setattr(images, "_hashes", images._table["label"])
    with pytest.raises(ArtifactError, match="image a in the image table is damaged"):
        shown_images(["a"], images, {})
