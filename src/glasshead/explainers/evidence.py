"""How good explanations are, as measures with 95 % bootstrap intervals over the images."""

from typing import TypedDict

import numpy as np
from jaxtyping import Float

from glasshead.calibration.bootstrap import Statistic, bootstrap_intervals, mean_of
from glasshead.explainers.attribution import Attribution


class Measure(TypedDict):
    """A measure of a method; null where it is undefined. `better` is "higher" or "lower"."""

    value: float | None
    low: float | None
    high: float | None
    better: str


def completeness(explained: Attribution, n_resamples: int, seed: int) -> dict[str, Measure]:
    """Return how far contributions are from adding up, 0 being complete.

    completeness_gap: mean |sum of contributions + base - output|, in the output's unit.
    completeness_gap_relative: that as a share of the mean |output - base|, which is what they should add up to.
    """
    step = np.abs(explained.output - explained.base)
    statistics = {
        "completeness_gap": mean_of(explained.gap),
        "completeness_gap_relative": Statistic(np.stack([explained.gap, step], axis=1), _ratio),
    }
    return {
        name: Measure(value=found.value, low=found.low, high=found.high, better="lower")
        for name, found in bootstrap_intervals(statistics, n_resamples, seed).items()
    }


def _ratio(means: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """Return the first mean over the second, NaN where that is 0."""
    ratio = np.full(means.shape[:-1], np.nan)
    np.divide(means[..., 0], means[..., 1], out=ratio, where=means[..., 1] > 0)
    return ratio
