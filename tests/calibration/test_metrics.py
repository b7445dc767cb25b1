import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error

from glasshead.calibration import metrics

ALL = [
    metrics.accuracy,
    metrics.top2_accuracy,
    metrics.macro_f1,
    metrics.brier,
    metrics.ece,
    metrics.ece_debiased,
    metrics.ece_equal_mass,
    metrics.ece_classwise,
]
UNIT_RANGE = [metric for metric in ALL if metric is not metrics.brier]


def draw(n, k, seed=0):
    """Return calibrated probabilities `(n, k)` and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(k, 0.3), n)
    labels = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=k - 1)
    return probabilities, labels


def overconfident(n, confidence, rate):
    """Return two-class rows of one confidence of which the fraction `rate` is right."""
    hits = np.arange(n) < round(n * rate)
    return np.tile([confidence, 1 - confidence], (n, 1)), np.where(hits, 0, 1)


def ece_by_hand(values, targets, n_bins):
    """Return sum over bins of |sum of (target - value)| / n, one row after another."""
    sums = [0.0] * n_bins
    edges = np.linspace(0, 1, n_bins + 1)
    for value, target in zip(values, targets, strict=True):
        inside = [b for b in range(n_bins) if edges[b] <= value < edges[b + 1]]
        sums[inside[0] if inside else n_bins - 1] += target - value
    return sum(map(abs, sums)) / len(values)


def test_accuracy_f1_top2_and_nll_agree_with_scikit_learn():
    probabilities, labels = draw(500, 5)
    predicted = probabilities.argmax(axis=1)
    assert metrics.accuracy(probabilities, labels).value == np.mean(predicted == labels)
    assert metrics.macro_f1(probabilities, labels).value == pytest.approx(
        f1_score(labels, predicted, average="macro")
    )
    assert metrics.top2_accuracy(probabilities, labels).value == pytest.approx(
        top_k_accuracy_score(labels, probabilities, k=2)
    )
    assert metrics.nll(np.log(probabilities + 1e-300), labels).value == pytest.approx(
        log_loss(labels, probabilities, labels=range(5)), rel=1e-6
    )


def test_nll_stays_finite_where_probabilities_underflow():
    assert metrics.nll(np.array([[0.0, 2000.0]]), np.array([0])).value == pytest.approx(2000)


def test_brier_of_a_uniform_and_of_a_wrong_certain_forecast():
    labels = np.array([0, 1, 2, 3])
    assert metrics.brier(np.full((4, 4), 0.25), labels).value == pytest.approx(0.75)
    assert metrics.brier(np.eye(4)[[1, 2, 3, 0]], labels).value == pytest.approx(2)


def test_ece_agrees_with_torchmetrics_away_from_the_edges():
    probabilities, labels = draw(800, 4)
    inner = 0.98 * probabilities + 0.005
    oracle = multiclass_calibration_error(
        torch.from_numpy(inner), torch.from_numpy(labels), num_classes=4, n_bins=15
    )
    assert metrics.ece(inner, labels).value == pytest.approx(oracle.item(), abs=1e-6)


@given(st.integers(1, 60), st.integers(2, 6), st.integers(1, 20), st.integers(0, 10_000))
def test_ece_and_classwise_ece_agree_with_a_loop(n, k, n_bins, seed):
    rng = np.random.default_rng(seed)
    # Multiples of 1/20 lie on edges of bins, and 1.0 in the last.
    probabilities = rng.multinomial(20, rng.dirichlet(np.full(k, 0.2)), size=n) / 20
    labels = rng.integers(k, size=n)
    hits = probabilities.argmax(axis=1) == labels
    expected = ece_by_hand(probabilities.max(axis=1), hits, n_bins)
    assert metrics.ece(probabilities, labels, n_bins).value == pytest.approx(expected)
    assert metrics.reliability_curve(probabilities, labels, n_bins).ece == pytest.approx(expected)
    classwise = np.mean([ece_by_hand(probabilities[:, c], labels == c, n_bins) for c in range(k)])
    if np.bincount(labels, minlength=k).min() >= 2:
        value = metrics.ece_classwise(probabilities, labels, n_bins).value
        assert value == pytest.approx(classwise)


@pytest.mark.parametrize("metric", [metrics.ece, metrics.ece_equal_mass])
def test_ece_of_one_confidence_is_its_gap(metric):
    assert metric(*overconfident(100, 0.9, 0.7)).value == pytest.approx(0.2)


def test_ece_counts_a_certain_mistake_in_full():
    assert metrics.ece(np.array([[1.0, 0.0]]), np.array([1])).value == 1


def test_debiased_ece_of_one_bin_is_the_closed_form():
    # Gap 0.2 with noise sqrt(0.21 / 100): E|N(0.2, s²)| exceeds 0.2 by 4.4 deviations' tail.
    assert metrics.ece_debiased(*overconfident(100, 0.9, 0.7)).value == pytest.approx(0.2, abs=1e-5)
    # Gap 0: all of it is noise, E|N(0, s²)| = s sqrt(2 / pi) > 0, so nothing is left.
    assert metrics.ece_debiased(*overconfident(100, 0.7, 0.7)).value == 0


def test_debiased_ece_agrees_with_the_sampling_of_kumar_et_al():
    probabilities, labels = draw(400, 4)
    curve = metrics.reliability_curve(probabilities, labels)
    noise = np.sqrt(curve.accuracy * (1 - curve.accuracy) / (400 * curve.fraction))
    draws = np.random.default_rng(0).normal(curve.accuracy, noise, (20_000, len(noise)))
    bias = (np.abs(draws - curve.confidence) @ curve.fraction).mean() - curve.ece
    value = metrics.ece_debiased(probabilities, labels).value
    assert value == pytest.approx(max(curve.ece - bias, 0), abs=2e-4)
    assert bias > 0.001


def test_debiased_ece_is_nearer_the_truth_for_calibrated_forecasts():
    plain, debiased = [], []
    for seed in range(50):
        probabilities, labels = draw(500, 4, seed)
        plain.append(metrics.ece(probabilities, labels).value)
        debiased.append(metrics.ece_debiased(probabilities, labels).value)
    assert np.mean(debiased) < 0.75 * np.mean(plain)


def test_equal_mass_bins_hold_equally_many_rows():
    top = np.linspace(0.5, 0.999, 150)
    probabilities, labels = np.stack([top, 1 - top], axis=1), np.zeros(150, dtype=int)
    statistic = metrics.ece_equal_mass(probabilities, labels, n_bins=15)
    assert (np.count_nonzero(statistic.terms, axis=0) == 10).all()


def test_consistency_is_the_quantile_that_calibrated_labels_exceed_one_time_in_twenty():
    probabilities, _ = draw(600, 4)
    bound = metrics.ece_consistency(probabilities, n_resamples=2000, seed=1)
    rng = np.random.default_rng(0)
    confidence, other = probabilities.max(axis=1), probabilities.argmin(axis=1)
    drawn = []
    for _ in range(1000):
        right = rng.random(600) < confidence
        labels = np.where(right, probabilities.argmax(axis=1), other)
        drawn.append(metrics.ece(probabilities, labels).value)
    assert np.mean(np.array(drawn) > bound) == pytest.approx(0.05, abs=0.025)


def test_consistency_of_certain_forecasts_is_zero_and_its_seed_decides():
    assert metrics.ece_consistency(np.eye(3)[[0, 1, 2]]) == 0
    probabilities, _ = draw(50, 3)
    first, second, other = (metrics.ece_consistency(probabilities, seed=s) for s in (0, 0, 1))
    assert first == second != other


def test_reliability_curve_leaves_out_empty_bins():
    probabilities = np.array([[1.0, 0.0], [0.55, 0.45], [0.6, 0.4]])
    curve = metrics.reliability_curve(probabilities, np.array([0, 0, 1]), n_bins=2)
    assert curve.confidence == pytest.approx([2.15 / 3])
    assert curve.accuracy == pytest.approx([2 / 3])
    assert curve.fraction == pytest.approx([1])


@pytest.mark.parametrize("metric", [metrics.macro_f1, metrics.ece_classwise])
@pytest.mark.parametrize("rows_of_last_class", [0, 1])
def test_class_wise_metrics_are_undefined_where_a_class_has_no_or_one_row(
    metric, rows_of_last_class
):
    labels = np.array([0, 0, 1, 1] + [2] * rows_of_last_class)
    assert metric(np.eye(3)[labels], labels).value is None


@pytest.mark.parametrize("metric", UNIT_RANGE)
@settings(max_examples=30)
@given(n=st.integers(1, 40), k=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_metrics_stay_in_range_and_ignore_the_order_of_rows(metric, n, k, seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.full(k, 0.3), n), rng.integers(k, size=n)
    order = rng.permutation(n)
    value = metric(probabilities, labels).value
    assert value is None or -1e-12 <= value <= 1 + 1e-12
    assert metric(probabilities[order], labels[order]).value == pytest.approx(value)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (np.array([[3.0, -2.0]]), np.array([0])),
        (np.array([[0.5, 0.4]]), np.array([0])),
        (np.array([[np.nan, np.nan]]), np.array([0])),
        (np.array([[0.5, 0.5]]), np.array([2])),
        (np.array([[0.5, 0.5]]), np.array([-1])),
    ],
    ids=["logits", "sum", "nan", "label above", "label below"],
)
def test_what_is_no_forecast_is_refused(metric, probabilities, labels):
    with pytest.raises(ValueError, match="must be"):
        metric(probabilities, labels)


@pytest.mark.parametrize("metric", ALL)
def test_labels_of_another_length_are_refused(metric):
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked at run time
        metric(np.array([[0.5, 0.5]]), np.array([0, 0]))
