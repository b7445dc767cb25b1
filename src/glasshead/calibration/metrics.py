"""Metrics of accuracy and calibration, from probabilities `(n, k)` and integer labels `(n,)`.

Each metric is a function that returns a `Statistic`, ready to bootstrap; `.value` is the number. Arguments are
probabilities whose rows sum to 1, unless a docstring says logits; anything else raises ValueError. Bins of confidence
are [a, b); the last bin includes 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax, ndtr

from glasshead.calibration.bootstrap import Statistic, mean_of
from glasshead.seeds import generator

Probabilities = Float[np.ndarray, "n k"]
Labels = Int[np.ndarray, " n"]

N_BINS = 15
MIN_CLASS_ROWS = 2  # with fewer rows, a rate of the class can only be 0, 1 or undefined


def accuracy(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Fraction of rows whose most probable class (the first of equals) is the label, in [0, 1]."""
    return mean_of(_hits(probabilities, labels))


def top2_accuracy(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Fraction of rows whose label is among the two most probable classes, in [0, 1]."""
    _check(probabilities, labels)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return mean_of((best == labels[:, None]).any(axis=1).astype(float))


def macro_f1(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Mean over classes of F1, in [0, 1]; undefined if a class has fewer than two rows."""
    _check(probabilities, labels)
    n, k = probabilities.shape
    true, predicted = np.eye(k)[labels], np.eye(k)[probabilities.argmax(axis=1)]

    def combine(means: np.ndarray) -> np.ndarray:
        both, true_fraction, predicted_fraction = np.split(means, 3, axis=-1)
        f1 = 2 * both / np.maximum(true_fraction + predicted_fraction, 1 / n)
        return _mean_over_classes(f1, true_fraction * n)

    return Statistic(np.hstack([true * predicted, true, predicted]), combine)


def nll(logits: Float[np.ndarray, "n k"], labels: Labels) -> Statistic:
    """Mean negative log-likelihood in nats. Takes LOGITS, divided by the temperature, and is never infinite."""
    return mean_of(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels])


def brier(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Mean squared distance from the one-hot label, summed over classes, in [0, 2]. Brier 1950."""
    _check(probabilities, labels)
    onehot = np.eye(probabilities.shape[1])[labels]
    return mean_of(((probabilities - onehot) ** 2).sum(axis=1))


def ece(probabilities: Probabilities, labels: Labels, n_bins: int = N_BINS) -> Statistic:
    """Top-label ECE in [0, 1] over equal-width bins. Guo et al. 2017, arXiv:1706.04599."""
    confidence, edges = probabilities.max(axis=1), equal_width_edges(n_bins)
    gaps = _hits(probabilities, labels) - confidence
    return Statistic(_in_bins(gaps[:, None], confidence, edges), _total_gap, biased=True)


def ece_equal_mass(probabilities: Probabilities, labels: Labels, n_bins: int = N_BINS) -> Statistic:
    """ECE in [0, 1] over bins of about equally many rows. Nixon et al. 2019, arXiv:1904.01685.

    Rows of equal confidence share a bin, so ties can merge bins. Resamples use the bins of the original sample.
    """
    confidence = probabilities.max(axis=1)
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, n_bins + 1)))
    gaps = _hits(probabilities, labels) - confidence
    return Statistic(_in_bins(gaps[:, None], confidence, edges), _total_gap, biased=True)


def ece_debiased(probabilities: Probabilities, labels: Labels, n_bins: int = N_BINS) -> Statistic:
    """ECE in [0, 1] less the part that sampling noise adds to it, floored at 0.

    The L1 estimator of Kumar et al. 2019, arXiv:1909.10155. Noise N(0, s²) in a bin's accuracy, with s² = accuracy (1 -
    accuracy) / rows, enlarges the bin's gap g to E|N(g, s²)| on average; this increase is subtracted. It is computed in
    closed form, as the mean of a folded normal distribution; the paper samples it.
    """
    confidence, n = probabilities.max(axis=1), len(probabilities)
    columns = np.stack([np.ones(n), _hits(probabilities, labels), confidence], axis=1)

    def combine(means: np.ndarray) -> np.ndarray:
        fraction, right, sure = np.moveaxis(means.reshape(*means.shape[:-1], n_bins, 3), -1, 0)
        occupied = np.maximum(fraction, 1 / n)
        rate = np.clip(right / occupied, 0, 1)
        noise = np.sqrt(rate * (1 - rate) / (occupied * n))
        gap = np.abs(right - sure) / occupied
        debiased = fraction * (2 * gap - _folded_mean(gap, noise))
        floored: np.ndarray = np.maximum(debiased.sum(axis=-1), 0)
        return floored

    return Statistic(_in_bins(columns, confidence, equal_width_edges(n_bins)), combine, biased=True)


def ece_classwise(probabilities: Probabilities, labels: Labels, n_bins: int = N_BINS) -> Statistic:
    """Class-wise ECE in [0, 1]: the mean over classes of the ECE of the class's probability.

    Kull et al. 2019, arXiv:1910.12656. Undefined if a class has fewer than two rows.
    """
    _check(probabilities, labels)
    n, k = probabilities.shape
    onehot, edges = np.eye(k)[labels], equal_width_edges(n_bins)
    binned = [
        _in_bins((onehot[:, [c]] - probabilities[:, [c]]), probabilities[:, c], edges)
        for c in range(k)
    ]

    def combine(means: np.ndarray) -> np.ndarray:
        gaps = means[..., k:].reshape(*means.shape[:-1], k, n_bins)
        return _mean_over_classes(_total_gap(gaps), means[..., :k] * n)

    return Statistic(np.hstack([onehot, *binned]), combine, biased=True)


def ece_consistency(
    probabilities: Probabilities,
    n_bins: int = N_BINS,
    n_resamples: int = 1000,
    seed: int = 0,
    quantile: float = 0.95,
) -> float:
    """Return the `quantile` of the ECE that a perfectly calibrated classifier with these confidences would have.

    Whether each of the n rows is classified correctly is sampled as Bernoulli(confidence). Bröcker & Smith 2007,
    doi:10.1175/WAF993.1.
    """
    confidence, rng = probabilities.max(axis=1), generator(seed, "consistency")
    bins = _in_bins(np.ones((len(confidence), 1)), confidence, equal_width_edges(n_bins))
    draws = [
        np.abs(((rng.random(len(confidence)) < confidence) - confidence) @ bins).sum()
        for _ in range(n_resamples)
    ]
    return float(np.quantile(draws, quantile) / len(confidence))


@dataclass(frozen=True)
class ReliabilityCurve:
    """Mean confidence, accuracy and fraction of rows of each bin that has rows, in order of confidence."""

    confidence: Float[np.ndarray, " b"]
    accuracy: Float[np.ndarray, " b"]
    fraction: Float[np.ndarray, " b"]

    @property
    def ece(self) -> float:
        """The expected calibration error that these bins show."""
        return float(self.fraction @ np.abs(self.accuracy - self.confidence))


def reliability_curve(
    probabilities: Probabilities, labels: Labels, n_bins: int = N_BINS
) -> ReliabilityCurve:
    """Return the reliability curve over the bins of `ece`."""
    confidence, n = probabilities.max(axis=1), len(probabilities)
    columns = np.stack([np.ones(n), confidence, _hits(probabilities, labels)], axis=1)
    sums = _in_bins(columns, confidence, equal_width_edges(n_bins)).sum(axis=0).reshape(n_bins, 3)
    count, sure, right = sums[sums[:, 0] > 0].T
    return ReliabilityCurve(sure / count, right / count, count / n)


def equal_width_edges(n_bins: int) -> Float[np.ndarray, " e"]:
    """Return the `n_bins + 1` edges of equal-width bins on [0, 1]."""
    return np.linspace(0, 1, n_bins + 1)


def _check(probabilities: np.ndarray, labels: np.ndarray) -> None:
    n, k = probabilities.shape
    sums = probabilities.sum(axis=1)
    if not (probabilities.min(initial=0) >= 0 and np.allclose(sums, 1, atol=1e-4)):
        raise ValueError("Rows of probabilities must be at least 0 and sum to 1; pass no logits.")
    if labels.shape != (n,) or not ((labels >= 0) & (labels < k)).all():
        raise ValueError(f"Labels must be {n} integers in [0, {k}).")


def _hits(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1.0 where the most probable class is the label, else 0.0."""
    _check(probabilities, labels)
    hits: np.ndarray = probabilities.argmax(axis=1) == labels
    return hits.astype(float)


def _in_bins(columns: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return `(n, bins * c)`: each row's `columns (n, c)` at the bin of its value, 0 in all other bins."""
    n, c = columns.shape
    n_bins = max(len(edges) - 1, 1)
    placed = np.zeros((n, n_bins, c))
    placed[np.arange(n), np.searchsorted(edges[1:-1], values, side="right")] = columns
    return placed.reshape(n, n_bins * c)


def _total_gap(means: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.abs(means).sum(axis=-1)
    return total


def _folded_mean(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return E|X| of X ~ N(mean, deviation²) for mean >= 0."""
    z = np.divide(mean, deviation, out=np.full_like(mean, np.inf), where=deviation > 0)
    density = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
    folded: np.ndarray = deviation * density + mean * (1 - 2 * ndtr(-z))
    return folded


def _mean_over_classes(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the mean of `values (..., k)`, NaN where a class has too few `rows (..., k)`."""
    mean: np.ndarray = np.where(rows > MIN_CLASS_ROWS - 0.5, values, np.nan).mean(axis=-1)
    return mean
