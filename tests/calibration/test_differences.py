"""Differences of shares between a group and the rest, against closed forms and simulated data."""

import numpy as np
import pytest
from scipy.stats import norm

from glasshead.calibration.differences import count_groups, stratified_differences


def rows(*strata):
    """Return hits, group and strata of ((hits, n) of the group, (hits, n) of the rest) in each stratum."""
    hits, group, number = [], [], []
    for place, ((y1, n1), (y0, n0)) in enumerate(strata):
        hits += [True] * y1 + [False] * (n1 - y1) + [True] * y0 + [False] * (n0 - y0)
        group += [True] * n1 + [False] * n0
        number += [place] * (n1 + n0)
    return np.array(hits), np.array(group), np.array(number)


def difference(hits, group, strata, comparisons=1):
    """Return value, low and high of one group."""
    counts = count_groups(hits, np.where(group, 0, 1), strata)
    return stratified_differences(counts, comparisons)[:, 0]


@pytest.mark.parametrize("counts", [((45, 60), (190, 200)), ((3, 10), (5, 10)), ((10, 10), (1, 9))])
@pytest.mark.parametrize("comparisons", [1, 10])
def test_of_one_stratum_it_is_the_difference_of_shares_with_a_score_interval(counts, comparisons):
    (y1, n1), (y0, n0) = counts
    p1, p0 = y1 / n1, y0 / n0
    value, low, high = difference(*rows(counts), comparisons)
    assert value == pytest.approx(p1 - p0)
    z = norm.ppf(1 - 0.025 / comparisons)
    for bound in (low, high):
        if abs(bound) < 1:
            spread = (p1 + p0 - 2 * p1 * p0) / 2 * (1 / n1 + 1 / n0)
            variance = spread + bound * ((p0 - 0.5) / n0 - (p1 - 0.5) / n1)
            assert abs(value - bound) == pytest.approx(z * np.sqrt(variance))


def test_a_group_is_not_blamed_for_the_strata_it_lies_in():
    hard, easy = ((40, 80), (10, 20)), ((19, 20), (76, 80))
    hits, group, strata = rows(hard, easy)
    assert difference(hits, group, strata)[0] == pytest.approx(0)
    assert difference(hits, group, 0 * strata)[0] == pytest.approx(0.59 - 0.86)


def test_strata_count_by_their_rows_of_both():
    hits, group, strata = rows(((1, 2), (2, 2)), ((3, 30), (15, 30)), ((9, 9), (0, 0)))
    counts = count_groups(hits, np.where(group, 0, 1), strata)
    assert counts.by_group(counts.n1).tolist() == [32, 32]
    assert counts.by_group(counts.y1).tolist() == [4, 17]
    value = (1 * -0.5 + 15 * -0.4) / 16
    np.testing.assert_allclose(stratified_differences(counts)[0], [value, -value])


def test_many_groups_at_once_are_as_each_by_itself_beside_the_rest():
    rng = np.random.default_rng(0)
    groups, strata, hits = rng.integers(-1, 6, 500), rng.integers(0, 9, 500), rng.random(500) < 0.7
    together = stratified_differences(count_groups(hits, groups, strata))
    known = groups >= 0
    for place in range(6):
        numbers, weights = [], []
        for stratum in range(9):
            inside = known & (strata == stratum)
            own, rest = hits[inside & (groups == place)], hits[inside & (groups != place)]
            if len(own) and len(rest):
                numbers.append(own.mean() - rest.mean())
                weights.append(len(own) * len(rest) / inside.sum())
        alone = difference(hits[known], groups[known] == place, strata[known])
        np.testing.assert_allclose(together[:, place], alone)
        assert together[0, place] == pytest.approx(np.average(numbers, weights=weights))


def test_the_interval_covers_the_truth_in_95_percent_of_samples():
    rng = np.random.default_rng(0)
    strata = np.arange(240) % 3
    group = rng.random(240) < np.array([0.1, 0.3, 0.5])[strata]
    fraction = np.array([0.95, 0.8, 0.7])[strata] - 0.1 * group
    found = np.array([difference(rng.random(240) < fraction, group, strata) for _ in range(2000)])
    value, low, high = found.T
    assert np.mean((low <= -0.1) & (high >= -0.1)) == pytest.approx(0.95, abs=0.015)
    assert value.mean() == pytest.approx(-0.1, abs=0.005)


def test_without_rows_to_compare_it_is_undefined():
    hits, group, _ = rows(((1, 2), (2, 2)))
    assert np.isnan(difference(hits, group, np.array([0, 0, 1, 1]))).all()
    none = np.array([], int)
    assert stratified_differences(count_groups(none > 0, none, none)).shape == (3, 0)
