"""Differences of shares between a group and the rest, against closed forms and simulated data."""

import numpy as np
import pytest
from scipy.stats import norm

from glasshead.calibration.differences import stratified_difference


def rows(*strata):
    """Return hits, group and strata of ((hits, n) of the group, (hits, n) of the rest) in each stratum."""
    hits, group, number = [], [], []
    for place, ((y1, n1), (y0, n0)) in enumerate(strata):
        hits += [True] * y1 + [False] * (n1 - y1) + [True] * y0 + [False] * (n0 - y0)
        group += [True] * n1 + [False] * n0
        number += [place] * (n1 + n0)
    return np.array(hits), np.array(group), np.array(number)


@pytest.mark.parametrize("counts", [((45, 60), (190, 200)), ((3, 10), (5, 10)), ((10, 10), (1, 9))])
@pytest.mark.parametrize("comparisons", [1, 10])
def test_of_one_stratum_it_is_the_difference_of_shares_with_a_score_interval(counts, comparisons):
    (y1, n1), (y0, n0) = counts
    p1, p0 = y1 / n1, y0 / n0
    found = stratified_difference(*rows(counts), comparisons)
    assert found.value == pytest.approx(p1 - p0)
    assert found.n == n1
    z = norm.ppf(1 - 0.025 / comparisons)
    for bound in (found.low, found.high):
        if abs(bound) < 1:
            spread = (p1 + p0 - 2 * p1 * p0) / 2 * (1 / n1 + 1 / n0)
            variance = spread + bound * ((p0 - 0.5) / n0 - (p1 - 0.5) / n1)
            assert abs(found.value - bound) == pytest.approx(z * np.sqrt(variance))


def test_a_group_is_not_blamed_for_the_strata_it_lies_in():
    hard, easy = ((40, 80), (10, 20)), ((19, 20), (76, 80))
    hits, group, strata = rows(hard, easy)
    assert stratified_difference(hits, group, strata).value == pytest.approx(0)
    assert stratified_difference(hits, group, 0 * strata).value == pytest.approx(0.59 - 0.86)


def test_strata_count_by_their_rows_of_both():
    found = stratified_difference(*rows(((1, 2), (2, 2)), ((3, 30), (15, 30)), ((9, 9), (0, 0))))
    assert found.value == pytest.approx((1 * -0.5 + 15 * -0.4) / 16)
    assert found.n == 32


def test_the_interval_covers_the_truth_in_95_percent_of_samples():
    rng = np.random.default_rng(0)
    strata = np.arange(240) % 3
    group = rng.random(240) < np.array([0.1, 0.3, 0.5])[strata]
    share = np.array([0.95, 0.8, 0.7])[strata] - 0.1 * group
    found = [stratified_difference(rng.random(240) < share, group, strata) for _ in range(2000)]
    covered = np.mean([each.low <= -0.1 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.015)
    assert np.mean([each.value for each in found]) == pytest.approx(-0.1, abs=0.005)


def test_without_rows_to_compare_it_is_undefined():
    hits, group, _ = rows(((1, 2), (2, 2)))
    assert stratified_difference(hits, group, np.array([0, 0, 1, 1])).value is None
    none = np.array([], bool)
    assert stratified_difference(none, none, np.array([], int)).n == 0
