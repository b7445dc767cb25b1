"""Intervals over runs against SciPy's t tests, and against their promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glasshead.calibration.bootstrap import Estimate
from glasshead.calibration.replicates import mean_over_runs, paired_difference, verdict

fractions = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6).filter(
    lambda pairs: np.std([a - b for a, b in pairs]) > 1e-6 and np.std([a for a, _ in pairs]) > 1e-6
)


@given(fractions)
def test_intervals_are_those_of_t_tests(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    for ours, theirs in (
        (mean_over_runs(first), stats.ttest_1samp(first, 0)),
        (paired_difference(first, second), stats.ttest_rel(first, second)),
    ):
        interval = theirs.confidence_interval(0.95)
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert ours.n == len(pairs)


def test_three_runs_cover_their_mean_at_the_nominal_rate():
    draws = np.random.default_rng(0).normal(0.9, 0.01, size=(2000, 3))
    found = [mean_over_runs(list(map(float, row))) for row in draws]
    covered = np.mean([each.low <= 0.9 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_run_has_no_interval():
    assert mean_over_runs([0.5]) == Estimate(0.5, None, None, 1)


def test_runs_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="longer"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.02, "higher"),
        (-0.02, -0.01, "lower"),
        (-0.01, 0.01, "unresolved"),
        (0.0, 0.1, "unresolved"),
        (None, None, "unresolved"),
    ],
)
def test_a_difference_is_resolved_where_its_interval_leaves_0_out(low, high, expected):
    assert verdict(Estimate(0.0, low, high, 3)) == expected
