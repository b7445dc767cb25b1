"""Measures of explanations with 95 % bootstrap intervals over the images."""

from collections.abc import Mapping
from typing import Literal, TypedDict

import numpy as np
from jaxtyping import Float

from glasshead.calibration.bootstrap import (
    Statistic,
    bootstrap_intervals,
    mean_of,
    mean_of_defined,
    ratio_of,
)
from glasshead.explainers.attribution import Attribution

# Which direction of each measure is better. `mass_on_mark`: a model trained on a mark uses it, so maps should show it.
BETTER: dict[str, Literal["higher", "lower"]] = {
    "deletion_auc": "lower",
    "insertion_auc": "higher",
    "infidelity": "lower",
    "max_sensitivity": "lower",
    "completeness_gap": "lower",
    "completeness_gap_relative": "lower",
    "sparsity": "higher",
    "rank_agreement": "higher",
    "top_agreement": "higher",
    "randomisation": "lower",
    "randomisation_ssim": "lower",
    "not_finite": "lower",
    "constant": "lower",
    "pointing_game": "higher",
    "relevance_mass_accuracy": "higher",
    "iou": "higher",
    "mass_on_mark": "higher",
}


class Measure(TypedDict):
    """A measure of a method, null if undefined; `better` is "higher" or "lower", `n` the number of images averaged."""

    value: float | None
    low: float | None
    high: float | None
    better: str
    n: int


def completeness(explained: Attribution, n_resamples: int, seed: int) -> dict[str, Measure]:
    """Return how far contributions are from adding up to the output; 0 if they add up exactly.

    completeness_gap: mean |sum of contributions + base - output|, in the output's unit.
    completeness_gap_relative: completeness_gap divided by the mean |output - base|.
    """
    step = np.abs(explained.output - explained.base)
    statistics = {
        "completeness_gap": mean_of(explained.gap),
        "completeness_gap_relative": ratio_of(explained.gap, step),
    }
    return _measures(statistics, n_resamples, seed)


def summarise(
    values: Mapping[str, Float[np.ndarray, " n"]], n_resamples: int, seed: int
) -> dict[str, Measure]:
    """Return the mean of each measure over the `n` images for which it is defined (not NaN).

    Raises KeyError for a measure that is not in `BETTER`.
    """
    statistics = {name: mean_of_defined(numbers) for name, numbers in values.items()}
    measures = _measures(statistics, n_resamples, seed)
    for name, numbers in values.items():
        measures[name]["n"] = int((~np.isnan(numbers)).sum())
    return measures


def _measures(
    statistics: Mapping[str, Statistic], n_resamples: int, seed: int
) -> dict[str, Measure]:
    return {
        name: Measure(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            better=BETTER[name],
            n=estimate.n,
        )
        for name, estimate in bootstrap_intervals(statistics, n_resamples, seed).items()
    }
