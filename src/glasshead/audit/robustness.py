"""Accuracy, confidence and calibration of a classifier on changed images."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from glasshead.calibration import metrics
from glasshead.calibration.bootstrap import Statistic, bootstrap_intervals, mean_of


class Condition(NamedTuple):
    """A perturbation of the images, its strength, and the unit of that strength."""

    perturbation: str
    strength: float
    unit: str


CLEAN = Condition("clean", 0.0, "")
MEASURES = {"accuracy": "", "difference": "difference_", "ece": "ece_", "confidence": "confidence_"}


def robustness_table(
    probabilities: Mapping[Condition, Float[np.ndarray, "n k"]],
    labels: Int[np.ndarray, " n"],
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return a row for each condition, in order; `CLEAN`, the unchanged images, is the reference.

    Columns: perturbation, strength, unit; accuracy, low, high; difference, difference_low, difference_high, from the
    accuracy on clean images, paired by image; ece, ece_low, ece_high (top-label); confidence, confidence_low,
    confidence_high, the mean probability of the predicted class; n images. Intervals are 95 % bootstrap intervals, null
    for fewer than two images; each resample takes the same images under every condition.
    """
    clean = metrics.accuracy(probabilities[CLEAN], labels).terms[:, 0]
    statistics = {
        f"{number}/{measure}": statistic
        for number, changed in enumerate(probabilities.values())
        for measure, statistic in _statistics(changed, labels, clean).items()
    }
    estimates = bootstrap_intervals(statistics, n_resamples, seed)
    rows = []
    for number, condition in enumerate(probabilities):
        row: dict[str, object] = condition._asdict()
        for measure, prefix in MEASURES.items():
            row |= estimates[f"{number}/{measure}"].columns(measure, prefix)
        rows.append(row | {"n": len(labels)})
    return pd.DataFrame(rows)


def _statistics(
    probabilities: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    clean: Float[np.ndarray, " n"],
) -> dict[str, Statistic]:
    accuracy = metrics.accuracy(probabilities, labels)
    return {
        "accuracy": accuracy,
        "difference": mean_of(accuracy.terms[:, 0] - clean),
        "ece": metrics.ece(probabilities, labels),
        "confidence": mean_of(probabilities.max(axis=1)),
    }
