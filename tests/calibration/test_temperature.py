import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logit, softmax

from glasshead.calibration import temperature as module
from glasshead.calibration.metrics import nll
from glasshead.calibration.temperature import fit_temperature, probabilities_at
from glasshead.errors import CalibrationError


def calibrated(n, k, seed=0):
    """Return logits `(n, k)` and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, k))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    return logits, (cumulated < rng.random((n, 1))).sum(axis=1).clip(max=k - 1)


@settings(max_examples=20)
@given(st.floats(-3, 3), st.integers(0, 50))
def test_scaling_the_logits_scales_the_temperature(log_scale, seed):
    logits, labels = calibrated(200, 3, seed)
    scale = np.exp(log_scale)
    expected = scale * fit_temperature(logits, labels).temperature
    assert fit_temperature(scale * logits, labels).temperature == pytest.approx(expected, rel=1e-5)


def test_two_classes_of_one_margin_have_a_closed_form():
    # With margin m always and the fraction r right, sigmoid(m / T) = r.
    labels = np.array([0] * 80 + [1] * 20)
    fit = fit_temperature(np.tile([3.0, 0.0], (100, 1)), labels)
    assert fit.temperature == pytest.approx(3 / logit(0.8), rel=1e-6)
    assert fit.nll_after == pytest.approx(-0.8 * np.log(0.8) - 0.2 * np.log(0.2), rel=1e-9)
    assert fit.nll_before > fit.nll_after
    assert fit.n == 100


def test_a_planted_temperature_is_found():
    logits, labels = calibrated(40_000, 10)
    fit = fit_temperature((2.5 * logits).astype(np.float32), labels)
    assert fit.temperature == pytest.approx(2.5, rel=0.02)


@settings(max_examples=40)
@given(st.integers(5, 60), st.integers(2, 6), st.integers(0, 10_000))
def test_the_optimum_is_that_of_a_bounded_scalar_search(n, k, seed):
    logits, labels = calibrated(n, k, seed)
    own = logits[np.arange(n), labels]
    if (own - logits.mean(axis=1)).mean() < 0.05 or (own >= logits.max(axis=1)).all():
        return
    search = minimize_scalar(
        lambda log_t: nll(logits / np.exp(log_t), labels).value, bounds=(-8, 8), method="bounded"
    )
    fit = fit_temperature(logits, labels)
    assert fit.nll_after <= search.fun + 1e-9
    assert fit.nll_after <= fit.nll_before + 1e-9


def test_temperature_leaves_logits_and_order_alone():
    logits, labels = calibrated(100, 4)
    copy = logits.copy()
    fit = fit_temperature(3 * logits, labels)
    scaled = probabilities_at(logits, fit.temperature)
    np.testing.assert_array_equal(logits, copy)
    np.testing.assert_array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(scaled, softmax(logits / fit.temperature, axis=1))


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 0]), "all 4 calibration rows.*right"),
        (np.zeros((4, 3)), np.array([0, 1, 2, 0]), "no better than chance"),
        (np.eye(2)[[0, 1, 0]], np.array([1, 0, 1]), "no better than chance"),
        (np.array([[1.0, np.nan]]), np.array([0]), "NaN or infinity"),
        (np.array([[np.inf, 0.0]]), np.array([1]), "NaN or infinity"),
        (np.zeros((0, 3)), np.zeros(0, dtype=int), "no calibration rows"),
    ],
    ids=["separable", "constant", "always wrong", "nan", "inf", "empty"],
)
def test_where_no_temperature_is_best_the_error_names_why(logits, labels, reason):
    with pytest.raises(CalibrationError, match=reason):
        fit_temperature(logits, labels)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ((float("nan"), 0.0), "ended at nan"),
        ((float("inf"), 0.0), "ended at inf"),
        ((2.0, 0.1), "did not converge"),
        ((2.0, float("nan")), "did not converge"),
        ((50.0, 0.0), "makes the calibration NLL worse"),
    ],
)
def test_a_bad_search_is_not_believed(monkeypatch, result, reason):
    monkeypatch.setattr(module, "_minimise", lambda logits, labels: result)
    with pytest.raises(CalibrationError, match=reason):
        fit_temperature(*calibrated(200, 3))
