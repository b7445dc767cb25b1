"""The linear probe: right where it can be right, chosen on validation alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from glasshead.models.probe import fit_linear_probe


def blobs(n, seed, spread=1.0):
    """Return (embeddings, labels) of three Gaussian blobs with columns of very different scale."""
    rng = np.random.default_rng(seed)
    labels = np.resize(np.arange(3), n)
    centres = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]])
    values = centres[labels] + rng.normal(scale=spread, size=(n, 3))
    return (values * [100, 1, 0.01]).astype(np.float32), labels


def test_it_separates_what_is_separable_whatever_the_scale_of_a_column():
    probe = fit_linear_probe(blobs(300, 0, 0.3), blobs(60, 1, 0.3), (1.0,))
    values, labels = blobs(90, 2, 0.3)
    assert (probe.predict(values) == labels).all()
    assert probe.validation_accuracy == 1.0


def test_it_is_logistic_regression_on_standardised_embeddings():
    train, validation = blobs(200, 0, 2.0), blobs(100, 1, 2.0)
    probe = fit_linear_probe(train, validation, (0.1,))
    scaler = StandardScaler().fit(train[0])
    reference = LogisticRegression(C=0.1, max_iter=5000, tol=1e-6)
    reference.fit(scaler.transform(train[0]), train[1])
    expected = reference.predict_proba(scaler.transform(validation[0]))
    np.testing.assert_allclose(probe.model.predict_proba(validation[0]), expected, atol=5e-3)
    assert (probe.predict(validation[0]) == expected.argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("classes", [2, 3])
def test_as_a_layer_it_reads_embeddings_that_are_not_standardised(classes):
    values, labels = blobs(300, 0, 2.0)
    values = values.astype(np.float64)
    kept = labels < classes
    probe = fit_linear_probe((values[kept], labels[kept]), blobs(60, 1), (0.1,))
    weight, bias = probe.as_layer()
    logits = values @ weight.T + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = odds / odds.sum(axis=1, keepdims=True)
    assert logits.shape == (300, classes)
    np.testing.assert_allclose(probe.model.predict_proba(values), expected, atol=1e-9)


def test_validation_chooses_the_strength():
    """Labels are noise that a weak regularisation learns by heart: only a strong one generalises."""
    rng = np.random.default_rng(0)
    signal = rng.integers(0, 2, 60)
    values = np.c_[signal + rng.normal(scale=0.8, size=60), rng.normal(size=(60, 80))]
    held = rng.integers(0, 2, 400)
    other = np.c_[held + rng.normal(scale=0.8, size=400), rng.normal(size=(400, 80))]
    strengths = (1e-3, 1e-1, 1e3)
    chosen = fit_linear_probe((values, signal), (other, held), strengths)
    alone = [fit_linear_probe((values, signal), (other, held), (s,)) for s in strengths]
    accuracies = [probe.validation_accuracy for probe in alone]
    assert len(set(accuracies)) > 1
    assert chosen.validation_accuracy == max(accuracies)
    assert chosen.strength == strengths[int(np.argmax(accuracies))]


@pytest.mark.parametrize("strengths", [(10.0, 1.0), (1.0, 10.0)])
def test_of_equals_the_strongest_regularisation_is_taken(strengths):
    assert fit_linear_probe(blobs(300, 0, 0.1), blobs(60, 1, 0.1), strengths).strength == 1.0


def test_two_fits_are_identical():
    first, second = (fit_linear_probe(blobs(200, 0), blobs(50, 1), (0.1, 1.0)) for _ in range(2))
    np.testing.assert_array_equal(first.model[-1].coef_, second.model[-1].coef_)
