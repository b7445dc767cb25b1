"""Findings on planted truth: a score that reads a mark, and one that reads the object."""

import numpy as np
import pytest

from glasshead.audit.shortcuts import (
    Audited,
    Removal,
    look_at_marks,
    look_beside,
    mark_finding,
    object_finding,
)

N, SIDE = 60, 24
MARK = (slice(1, 4), slice(2, 5))
OBJECT = (slice(12, 20), slice(8, 18))


def scenes(read: tuple[slice, slice]) -> tuple[Audited, np.ndarray, np.ndarray]:
    """Return images with a red object and a blue mark, whose score and heat follow one of the two places."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 110, (N, 3, SIDE, SIDE)).astype(np.uint8)
    pixels[(slice(None), 0, *OBJECT)] = 200
    pixels[(slice(None), 2, *MARK)] = 255
    channel = 2 if read is MARK else 0
    masks, marks = np.zeros((2, N, SIDE, SIDE), bool)
    masks[(slice(None), *OBJECT)] = True
    marks[(slice(None), *MARK)] = True
    maps = np.where((masks if read is OBJECT else marks), 1.0, 0.05) + rng.random(masks.shape) / 100

    def score(images: np.ndarray) -> np.ndarray:
        seen = images[(slice(None), channel, *read)].mean(axis=(1, 2))
        return np.where(seen > 150, 0.9, 0.1)

    ids = np.array([f"test/{row}" for row in range(N)])
    whole = np.ones(N, bool)
    return Audited(ids, pixels, maps, maps, whole, score, lambda _: maps**2), masks, marks


class TestMarks:
    def test_a_mark_that_decides_is_named_by_all_that_it_does(self):
        audited, masks, marks = scenes(MARK)
        for found in (
            look_at_marks("car", audited, marks, 200, 0),
            look_beside("car", audited, masks, 5, 200, 0),
        ):
            assert found["severity"] == "high"
            assert "ff, " in found["summary"] or "ff. " in found["summary"]  # its blue
            evidence = found["evidence"]
            assert evidence["accuracy"]["value"] == 1
            assert evidence["accuracy_hidden"]["value"] == 0
            assert evidence["accuracy_hidden_elsewhere"]["value"] == 1
            assert evidence["mass_on_place"]["value"] > 3 * evidence["area"]["value"]
            assert evidence["attribution_on_place"]["value"] > evidence["mass_on_place"]["value"]
            assert set(found["rows"]) < set(audited.image_ids)

    def test_a_mark_that_is_there_and_does_not_count_is_not_told_of(self):
        audited, masks, marks = scenes(OBJECT)
        assert look_at_marks("car", audited, marks, 200, 0) is None
        assert look_beside("car", audited, masks, 5, 200, 0) is None

    def test_where_the_mark_is_found_without_being_told(self):
        audited, masks, _ = scenes(MARK)
        found = look_beside("car", audited, masks, 5, 200, 0)
        assert found["check"] == "mark_beside_object"
        assert "100% of the images" in found["summary"]

    def test_few_images_beside_the_object_are_not_looked_at(self):
        audited, masks, _ = scenes(OBJECT)
        maps = audited.maps.copy()
        maps[:2, 2, 3] = 9  # 2 of 60
        other = Audited(
            audited.image_ids,
            audited.pixels,
            maps,
            maps,
            audited.has_risk,
            lambda _: pytest.fail("scored"),
            lambda _: pytest.fail("attributed"),
        )
        assert look_beside("car", other, masks, 5, 200, 0) is None


def removal(after: float, control: float, n: int = 200) -> Removal:
    right = np.full(n, 0.9)
    after, control = (
        np.where(np.arange(n) < fraction * n, 0.9, 0.1) for fraction in (after, control)
    )
    return Removal(
        np.arange(n).astype(str),
        np.ones(n, bool),
        right,
        after,
        control,
        np.full(n, 0.2),
        np.full(n, 0.01),
        lambda: np.full(n, 0.3),
    )


@pytest.mark.parametrize(
    ("after", "control", "severity"),
    [
        (0.5, 1.0, "high"),
        (0.93, 1.0, "medium"),
        (0.5, 0.5, None),
        (0.99, 1.0, None),
        (1.0, 1.0, None),
    ],
)
def test_only_a_drop_beyond_that_of_another_place_counts(after, control, severity):
    found = mark_finding("car", removal(after, control), "a mark", "planted_mark", 200, 0)
    assert (found and found["severity"]) == severity


def test_too_few_images_say_nothing():
    assert mark_finding("car", removal(0.0, 1.0, 4), "a mark", "planted_mark", 200, 0) is None


class TestObject:
    def test_mass_beside_the_object_beyond_a_gaussians_is_told_with_the_worst_first(self):
        rng = np.random.default_rng(0)
        outside, centre = 0.8 + 0.1 * rng.random(50), 0.5 + 0.1 * rng.random(50)
        found = object_finding("car", outside, centre, np.arange(50).astype(str), 200, 0)
        assert found["severity"] == "high"
        assert found["rows"][0] == str(outside.argmax())
        assert found["evidence"]["difference"]["low"] > 0.2

    def test_mass_on_the_object_is_not(self):
        rng = np.random.default_rng(0)
        outside, centre = 0.5 + 0.1 * rng.random((2, 50))
        assert object_finding("car", outside - 0.1, centre, np.arange(50), 200, 0) is None

    @pytest.mark.parametrize("values", [[], [np.nan, np.nan], [0.9]])
    def test_nothing_to_measure_is_no_finding(self, values):
        values = np.array(values, float)
        assert object_finding("car", values, 0 * values, np.arange(len(values)), 50, 0) is None
