"""Means over a few independent runs, such as trainings of several seeds, with intervals over the runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from glasshead.calibration.bootstrap import Estimate

LEVEL = 0.95


def mean_over_runs(values: Sequence[float]) -> Estimate:
    """Return the mean with its 95 % Student t interval; no interval for fewer than two runs.

    Student 1908, doi:10.2307/2331554: exact for normally distributed values. The interval is not clipped: for
    fractions, an end below 0 or above 1 shows that there are too few runs.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, None, n)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return the mean of `values` minus `reference`, run by run, with its 95 % t interval.

    Pairing by seed removes the random variation that both runs share. The interval is valid even if they share none.
    Raises ValueError unless both have the same number of runs.
    """
    return mean_over_runs([value - other for value, other in zip(values, reference, strict=True)])


def verdict(difference: Estimate) -> str:
    """Return `higher` or `lower` if the interval of a difference excludes 0, else `unresolved`."""
    low, high = difference.low, difference.high
    if low is None or high is None or low <= 0 <= high:
        return "unresolved"
    return "higher" if low > 0 else "lower"


def compare_accuracies(
    values: Sequence[float], reference: Sequence[float] | None
) -> dict[str, Any]:
    """Return the columns of a comparison of accuracies of several runs.

    Columns: seeds, the number of runs; accuracy, low, high: mean over runs and its interval; difference,
    difference_low, difference_high: mean difference to the runs of `reference`, paired in order, and its interval;
    verdict. Without a reference, the last four are null.
    """
    accuracy = mean_over_runs(values)
    columns = {"seeds": accuracy.n} | accuracy.columns("accuracy", "")
    if reference is None:
        return columns | dict.fromkeys(
            ("difference", "difference_low", "difference_high", "verdict")
        )
    difference = paired_difference(values, reference)
    return (
        columns | difference.columns("difference", "difference_") | {"verdict": verdict(difference)}
    )
