"""Maps against masks that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glasshead.explainers.localisation import (
    mask_iou,
    mass_on_mark,
    pointing_game,
    relevance_mass_accuracy,
)

MEASURES = (pointing_game, relevance_mass_accuracy, mask_iou, mass_on_mark)


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, :2, :2] = True
    masks[1, 1:, 3] = True
    return masks


@pytest.mark.parametrize("measure", MEASURES)
def test_the_mask_itself_is_perfect_and_what_is_around_it_is_worthless(measure, masks):
    np.testing.assert_allclose(measure(masks.astype(float), masks), 1)
    np.testing.assert_allclose(measure((~masks).astype(float), masks), 0)


def test_half_in_the_mask(masks):
    maps = np.zeros((1, 4, 4))
    maps[0, 1, :4] = [1, 3, 4, 2]  # 1 and 3 inside
    mask = masks[:1]
    np.testing.assert_allclose(pointing_game(maps, mask), 0)
    np.testing.assert_allclose(mask_iou(maps, mask), 2 / 6)
    np.testing.assert_allclose(relevance_mass_accuracy(maps, mask), 4 / 10)
    np.testing.assert_allclose(mass_on_mark(maps, mask), 4 / 10)


def test_a_constant_map_gains_nothing_by_the_order_of_pixels(masks):
    maps = np.ones((2, 4, 4))
    fraction = masks.mean(axis=(1, 2))
    for measure in (pointing_game, relevance_mass_accuracy, mass_on_mark):
        np.testing.assert_allclose(measure(maps, masks), fraction)
    np.testing.assert_allclose(mask_iou(maps, masks), fraction / (2 - fraction))


def test_only_the_highest_pixels_count_in_the_mask_but_all_on_the_mark(masks):
    maps = np.full((1, 4, 4), 0.5)
    maps[0, :2, :2] = 1
    np.testing.assert_allclose(relevance_mass_accuracy(maps, masks[:1]), 1)
    np.testing.assert_allclose(mass_on_mark(maps, masks[:1]), 4 / 10)


def test_negative_values_are_no_mass(masks):
    maps = np.full((1, 4, 4), -9.0)
    maps[0, 0, 0] = 2
    for measure in MEASURES[:2] + MEASURES[3:]:
        np.testing.assert_allclose(measure(maps, masks[:1]), 1)


@pytest.mark.parametrize("measure", MEASURES)
def test_without_a_mask_or_a_finite_map_there_is_no_answer(measure, masks):
    maps = np.ones((2, 4, 4))
    maps[1, 0, 0] = np.nan
    masks[0] = False
    assert np.isnan(measure(maps, masks)).all()


@pytest.mark.parametrize("measure", [relevance_mass_accuracy, mass_on_mark])
def test_a_map_of_zeros_has_no_mass(measure, masks):
    assert np.isnan(measure(np.zeros((2, 4, 4)), masks)).all()


@pytest.mark.parametrize("measure", MEASURES)
@given(
    arrays(np.float64, (1, 3, 4), elements=st.integers(-2, 9).map(float)),
    arrays(bool, (1, 3, 4)),
    st.permutations(range(12)),
)
def test_measures_are_shares_that_do_not_see_the_order_of_pixels(measure, maps, masks, order):
    (found,) = measure(maps, masks)
    assert np.isnan(found) or -1e-12 <= found <= 1 + 1e-12
    (other,) = measure(*(x.reshape(1, 12)[:, order].reshape(1, 3, 4) for x in (maps, masks)))
    np.testing.assert_allclose(found, other, atol=1e-12)
