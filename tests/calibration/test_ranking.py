"""Ranking statistics against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from glasshead.calibration.bootstrap import averaged, bootstrap_intervals, mean_of
from glasshead.calibration.ranking import auroc, average_precision, mean_gap

SKLEARN = {auroc: roc_auc_score, average_precision: average_precision_score}


def scored(n: int = 200, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positives = rng.random(n) < 0.3
    scores = rng.normal(size=n) + positives
    return np.round(scores, 1) if ties else scores, positives


@pytest.mark.parametrize("measure", SKLEARN)
@pytest.mark.parametrize("ties", [False, True])
def test_the_value_is_scikit_learns(measure, ties):
    scores, positives = scored(ties=ties)
    assert measure(scores, positives).value == pytest.approx(
        SKLEARN[measure](positives, scores), abs=1e-12
    )


@pytest.mark.parametrize("measure", SKLEARN)
def test_a_resample_is_the_value_of_its_rows(measure):
    scores, positives = scored()
    rows = np.random.default_rng(1).integers(len(scores), size=len(scores))
    counts = np.bincount(rows, minlength=len(scores))[None].astype(float)
    [value] = measure(scores, positives).resampled(counts)
    assert value == pytest.approx(SKLEARN[measure](positives[rows], scores[rows]), abs=1e-12)


def test_scores_that_are_all_alike_rank_at_chance():
    positives = np.arange(10) < 3
    assert auroc(np.zeros(10), positives).value == 0.5
    assert average_precision(np.zeros(10), positives).value == pytest.approx(0.3)


def test_the_gap_is_the_difference_of_means():
    scores, positives = scored()
    expected = scores[positives].mean() - scores[~positives].mean()
    assert mean_gap(scores, positives).value == pytest.approx(expected)


@pytest.mark.parametrize("measure", [auroc, average_precision, mean_gap])
@pytest.mark.parametrize("count", [0, 1, 9, 10])
def test_fewer_than_two_rows_on_a_side_leave_it_undefined(measure, count):
    scores, positives = np.arange(10.0), np.arange(10) < count
    estimate = bootstrap_intervals({"m": measure(scores, positives)}, 50, 0)["m"]
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)


@pytest.mark.parametrize("measure", [auroc, average_precision, mean_gap])
def test_no_rows_are_no_error(measure):
    statistic = measure(np.zeros(0), np.zeros(0, bool))
    assert bootstrap_intervals({"m": statistic}, 50, 0)["m"].value is None


def test_the_mean_of_statistics_has_the_interval_of_their_mean():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 100))
    both = averaged([mean_of(left), mean_of(right)])
    ours = bootstrap_intervals({"m": both}, 200, 0)["m"]
    direct = bootstrap_intervals({"m": mean_of((left + right) / 2)}, 200, 0)["m"]
    assert [ours.value, ours.low, ours.high] == pytest.approx(
        [direct.value, direct.low, direct.high]
    )


def test_a_mean_with_an_undefined_part_is_undefined():
    scores, positives = scored()
    nobody = np.zeros(len(scores), bool)
    assert averaged([auroc(scores, positives), auroc(scores, nobody)]).value is None
