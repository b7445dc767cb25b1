"""Abstention: closed forms of the bound, the walk down the thresholds, and the promise itself, by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from glasshead.calibration.abstention import (
    FORGIVEN,
    GRID,
    fit_abstention,
    rows_needed,
    why_abstain,
)


def rows(*groups: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and correctness of groups of (confidence, rows, how many of them are wrong)."""
    confidence = np.concatenate([np.full(n, value) for value, n, _ in groups])
    correct = np.concatenate([np.arange(n) >= wrong for _, n, wrong in groups])
    return confidence, correct


def test_it_goes_down_to_where_the_errors_begin():
    found = fit_abstention(*rows((0.93, 200, 1), (0.83, 200, 60), (0.3, 100, 0)), 0.05, 0.95)
    assert found["threshold"] == 0.85
    assert found["coverage"] == pytest.approx(200 / 500)
    assert found["error"] == pytest.approx(1 / 200)
    assert found["rows"] == 500


@pytest.mark.parametrize(
    ("wrong", "n", "certainty"), [(0, 90, 0.95), (3, 400, 0.99), (9, 600, 0.9)]
)
def test_the_bound_is_clopper_and_pearsons(wrong, n, certainty):
    found = fit_abstention(*rows((0.97, n, wrong)), 0.05, certainty)
    sure = 1 - (1 - certainty) / len(FORGIVEN)
    exact = binomtest(wrong, n, alternative="less").proportion_ci(sure, method="exact")
    assert found["error_bound"] == pytest.approx(exact.high)
    assert found["error_bound"] <= 0.05
    assert found["threshold"] == 0.0


def test_rows_that_are_too_few_to_show_it_leave_it_always_abstaining():
    """Without a mistake, 202 rows leave 0.98^202 = 0.0169, more than 0.05 / 3, to an error of 2 %; 203 do not."""
    too_few, enough = (fit_abstention(*rows((0.99, n, 0)), 0.02, 0.95) for n in (202, 203))
    assert (too_few["threshold"], too_few["coverage"]) == (None, 0)
    assert (too_few["error"], too_few["error_bound"]) == (None, None)
    assert enough["threshold"] == 0.0
    assert rows_needed(0.02, 0.95) == 203
    assert "at least 203" in (why_abstain(1.0, too_few) or "")
    assert why_abstain(0.1, enough) is None


def test_what_comes_after_a_failed_test_is_not_looked_at():
    found = fit_abstention(*rows((0.99999, 1000, 500), (0.9, 100_000, 0)), 0.05, 0.95)
    assert found["threshold"] is None


def test_one_early_mistake_does_not_end_all_walks():
    """Of 100 answers without a mistake the first walk would make something; with one, the second goes on later."""
    groups = [(0.9997, 100, 1), (0.9, 400, 0), (0.3, 100, 90)]
    assert fit_abstention(*rows(groups[0]), 0.05, 0.95)["threshold"] is None
    assert fit_abstention(*rows(*groups), 0.05, 0.95)["threshold"] == 0.3


def test_an_answer_needs_a_confidence_above_the_threshold():
    found = fit_abstention(*rows((0.93, 200, 0), (0.8, 200, 100)), 0.05, 0.95)
    assert found["threshold"] == 0.8
    assert why_abstain(0.8, found)
    assert why_abstain(float(np.nextafter(0.8, 1)), found) is None


def test_the_promise_holds_in_all_but_one_in_twenty_draws():
    """With confidence uniform in [0, 1] and honest, the error above t is (1 - t) / 2, and 0.1 is kept from t = 0.8."""
    draw = np.random.default_rng(0)
    thresholds = []
    for _ in range(400):
        confidence = draw.random(4000)
        correct = draw.random(4000) < confidence
        thresholds.append(fit_abstention(confidence, correct, 0.1, 0.95)["threshold"])
    broken = np.mean([t is not None and t < 0.8 for t in thresholds])
    assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean([t is not None and t <= 0.9 for t in thresholds]) > 0.8  # it does answer


def test_thresholds_descend_to_zero():
    assert list(GRID) == sorted(set(GRID), reverse=True)
    assert GRID[-1] == 0
