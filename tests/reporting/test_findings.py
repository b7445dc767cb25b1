"""The images that show a finding: small, with label and answer, of those that are there; not more than a page holds."""

import io

import pytest
from PIL import Image

from glasshead.errors import ArtifactError
from glasshead.reporting.findings import (
    MOST_SHOWN,
    SHOWN_ROWS,
    ShownImage,
    shown_ids,
    size_of,
    with_images,
)
from glasshead.reporting.pictures import MINIATURE


def listed(rows):
    return {"rows": rows}


def test_the_first_images_of_each_finding_are_asked_for_each_once():
    many = [str(row) for row in range(20)]
    assert shown_ids([listed(many), listed(["3", "x"]), listed([])]) == [*many[:SHOWN_ROWS], "x"]
    assert (
        len(shown_ids([listed([f"{k}/{row}" for row in range(20)]) for k in range(99)]))
        == MOST_SHOWN
    )


def test_images_come_with_label_and_answer_in_the_findings_order(planted_report):
    images = planted_report.make_images({"a": "cat", "b": "dog", "c": "dog"})
    answers = {"a": "cat, 0.9", "c": "cat, 0.8", "gone": "cat, 0.7"}
    [(found, shown)] = with_images([listed(["c", "gone", "b", "a"])], images, answers)
    assert found == listed(["c", "gone", "b", "a"])
    assert [(each.image_id, each.label, each.answer) for each in shown] == [
        ("c", "dog", "cat, 0.8"),
        ("gone", "", ""),
        ("b", "", ""),
        ("a", "cat", "cat, 0.9"),
    ]
    assert [each.picture is not None for each in shown] == [True, False, False, True]


def test_a_page_of_many_findings_holds_so_many_pictures_and_names_the_others(planted_report):
    images = planted_report.make_images({"a": "cat"})
    found = with_images([listed(["a"] * SHOWN_ROWS)] * 60, images, {"a": "cat, 0.9"})
    pictured = [image for each in found for image in each.images if image.picture]
    assert len(pictured) == MOST_SHOWN
    assert size_of(found) == MOST_SHOWN * len(pictured[0].picture.data)
    assert found[-1].images == [ShownImage("a")] * SHOWN_ROWS


@pytest.mark.parametrize(("side", "shown"), [(400, MINIATURE), (65, 65), (64, 64), (9, 9)])
def test_large_images_are_made_small_and_small_ones_stay_as_they_are(planted_report, side, shown):
    images = planted_report.make_images({"a": "cat"}, side=side)
    [(_, [found])] = with_images([listed(["a"])], images, {"a": ""})
    with Image.open(io.BytesIO(found.picture.data)) as image:
        assert image.size == (found.picture.width, found.picture.height) == (shown, shown)
        assert image.convert("RGB").getpixel((4, 4)) == pytest.approx((200, 200, 200), abs=2)


def test_a_damaged_image_is_refused(planted_report, monkeypatch):
    images = planted_report.make_images({"a": "cat"})
    monkeypatch.setattr(images, "_hashes", images._table["label"])
    with pytest.raises(ArtifactError, match="Image a in the image table is damaged"):
        with_images([listed(["a"])], images, {"a": ""})
