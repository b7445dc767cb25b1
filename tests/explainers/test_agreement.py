"""Likeness of maps against closed forms, SciPy and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from torchmetrics.functional.image import structural_similarity_index_measure

from glasshead.explainers.agreement import (
    mean_agreement,
    rank_correlation,
    structural_similarity,
    top_overlap,
)

integers = arrays(np.float64, (2, 3, 4), elements=st.integers(-3, 3).map(float))


@given(integers, integers)
def test_rank_correlation_is_spearmans(first, second):
    for found, one, other in zip(rank_correlation(first, second), first, second, strict=True):
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)


def test_a_monotone_change_leaves_all_ranks():
    maps = np.random.default_rng(0).normal(size=(3, 5, 5))
    np.testing.assert_allclose(rank_correlation(maps, np.exp(maps)), 1)
    np.testing.assert_allclose(rank_correlation(maps, -(maps**3)), -1)
    np.testing.assert_allclose(top_overlap(maps, np.exp(maps), 0.2), 1)
    np.testing.assert_allclose(top_overlap(maps, -maps, 0.2), 0)


def test_overlap_counts_the_highest_pixels_in_common():
    first = np.arange(16.0).reshape(1, 4, 4)
    second = np.roll(first, 2)  # 13 and 14 stand highest, and 15 and 16 lowest, in turn
    np.testing.assert_allclose(top_overlap(first, second, 0.25), 2 / 4)
    np.testing.assert_allclose(top_overlap(first, np.zeros((1, 4, 4)), 0.25), 0.25)


@given(integers, st.floats(0.01, 1))
def test_a_map_agrees_with_itself_ties_or_not(maps, fraction):
    np.testing.assert_allclose(top_overlap(maps, maps, fraction), 1)


@pytest.mark.parametrize("signed", [True, False])
def test_structural_similarity_equals_torchmetrics(signed):
    draw = np.random.default_rng(0)
    first = draw.normal(size=(4, 12, 15))
    second = first + 0.5 * draw.normal(size=first.shape)
    if not signed:
        first, second = np.abs(first), np.abs(second)
    x, y = (
        torch.from_numpy(maps / np.abs(maps).max(axis=(1, 2), keepdims=True))[:, None]
        for maps in (first, second)
    )
    expected = structural_similarity_index_measure(
        x, y, gaussian_kernel=False, kernel_size=7, data_range=1.0, reduction="none"
    )
    np.testing.assert_allclose(structural_similarity(first, second), expected, atol=1e-6)
    np.testing.assert_allclose(structural_similarity(first, 3 * first), 1)


@pytest.mark.parametrize("compare", [rank_correlation, top_overlap, structural_similarity])
def test_broken_maps_are_like_nothing(compare):
    maps = np.random.default_rng(0).normal(size=(2, 8, 8))
    broken = maps.copy()
    broken[1, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(compare(maps, broken)), [False, True])
    np.testing.assert_array_equal(np.isnan(compare(broken, maps)), [False, True])


def test_agreement_with_the_others_leaves_out_what_is_undefined():
    maps = np.random.default_rng(0).normal(size=(2, 4, 4))
    methods = {"a": maps, "b": 2 * maps, "c": -maps, "d": np.zeros((2, 4, 4))}
    found = mean_agreement(methods, rank_correlation, among=["a", "b", "c", "d"])
    for name, expected in {"a": 0, "b": 0, "c": -1, "d": np.nan}.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
    found = mean_agreement(methods, rank_correlation, among=["a"])
    for name, expected in {"a": np.nan, "b": 1, "c": -1, "d": np.nan}.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
