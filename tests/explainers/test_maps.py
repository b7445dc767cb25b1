"""What maps are made of: faults, sparsity, highest pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glasshead.explainers.maps import map_faults, sparsity, top_fractions

any_maps = arrays(np.float64, (2, 3, 4), elements=st.integers(-3, 3).map(float))


def test_faults_are_found_and_kept_apart():
    maps = np.random.default_rng(0).normal(size=(5, 3, 3))
    maps[1, 0, 0], maps[2, 2, 1], maps[3], maps[4] = np.nan, np.inf, 0, 0.7
    found = map_faults(maps)
    np.testing.assert_array_equal(found["not_finite"], [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(found["constant"], [0, 0, 0, 1, 1])


def test_sparsity_of_one_pixel_of_all_and_of_a_half():
    maps = np.zeros((5, 4, 4))
    maps[0, 1, 2] = -3
    maps[1] = 2
    maps[2, :2] = 5
    maps[4, 0, 0] = np.nan
    np.testing.assert_allclose(sparsity(maps), [1 - 1 / 16, 0, 0.5, np.nan, np.nan], atol=1e-12)


@given(any_maps.filter(lambda maps: (maps != 0).any(axis=(1, 2)).all()), st.floats(0.1, 10))
def test_sparsity_depends_neither_on_scale_nor_on_size(maps, scale):
    found = sparsity(maps)
    assert ((found >= -1e-12) & (found < 1)).all()
    np.testing.assert_allclose(sparsity(scale * maps), found, atol=1e-12)
    np.testing.assert_allclose(sparsity(np.tile(maps, (1, 2, 3))), found, atol=1e-12)


def test_ties_at_the_threshold_share_the_places_left():
    maps = np.array([[[3.0, 1.0], [1.0, 1.0]], [[0.0, 5.0], [4.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]])
    expected = [[[1, 1 / 3], [1 / 3, 1 / 3]], [[0, 1], [1, 1]], [[0, 0], [0, 0]]]
    np.testing.assert_allclose(top_fractions(maps, np.array([2, 3, 0])), expected)


@given(any_maps, st.integers(0, 12), st.integers(0, 12))
def test_shares_add_up_to_the_count_and_are_those_of_the_highest(maps, first, second):
    counts = np.array([first, second])
    fractions = top_fractions(maps, counts)
    assert ((fractions >= 0) & (fractions <= 1)).all()
    np.testing.assert_allclose(fractions.sum(axis=(1, 2)), counts, atol=1e-12)
    for pixels, fraction, count in zip(maps, fractions, counts, strict=True):
        highest = np.sort(pixels.ravel())[::-1][:count].sum()
        assert (pixels * fraction).sum() == pytest.approx(highest)
