"""How well scores `(n,)` separate positive from negative rows: by their ranks and by the gap of their means.

Each function returns a statistic ready to bootstrap, undefined for fewer than two positive or negative rows.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from glasshead.calibration.bootstrap import CountStatistic, Statistic
from glasshead.calibration.metrics import MIN_CLASS_ROWS

Scores = Float[np.ndarray, " n"]
Positives = Bool[np.ndarray, " n"]
# Maps the numbers of positive and of negative rows with each distinct score, the highest first, (r, g) each, to (r,).
Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def auroc(scores: Scores, positives: Positives) -> CountStatistic:
    """Area under the ROC curve in [0, 1]: P(positive row scores above negative row); ties count one half.

    Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """

    def area(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        negatives = below.sum(axis=1)
        lower = negatives[:, None] - np.cumsum(below, axis=1) + below / 2
        return (above * lower).sum(axis=1) / np.maximum(above.sum(axis=1) * negatives, 1)

    return _ranked(scores, positives, area)


def average_precision(scores: Scores, positives: Positives) -> CountStatistic:
    """Area under the precision-recall curve in [0, 1], as a sum over steps of recall, not interpolated.

    Sum over thresholds of (R_i - R_{i-1}) P_i; chance is the fraction of positive rows.
    """

    def area(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
        true_positives = np.cumsum(hits, axis=1)
        precision = true_positives / np.maximum(true_positives + np.cumsum(misses, axis=1), 1)
        return (hits * precision).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)

    return _ranked(scores, positives, area)


def mean_gap(scores: Scores, positives: Positives) -> Statistic:
    """Mean score of the positive rows minus mean score of the negative rows, in the scores' unit."""
    mine = positives.astype(float)
    terms = np.stack([mine * scores, mine, (1 - mine) * scores, 1 - mine], axis=1)
    one_row = 1 / max(len(scores), 1)  # the fraction of all rows that one row is

    def gap(means: np.ndarray) -> np.ndarray:
        high, fraction, low, rest = np.moveaxis(means, -1, 0)
        difference = high / np.maximum(fraction, one_row) - low / np.maximum(rest, one_row)
        return np.where(
            np.minimum(fraction, rest) > (MIN_CLASS_ROWS - 0.5) * one_row, difference, np.nan
        )

    return Statistic(terms, gap)


def _ranked(scores: Scores, positives: Positives, combine: Combine) -> CountStatistic:
    order = np.argsort(-scores, kind="stable")
    hits = positives[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))

    def measure(counts: np.ndarray) -> np.ndarray:
        ordered = counts[:, order]
        sums = [np.add.reduceat(ordered * chosen, starts, axis=1) for chosen in (hits, ~hits)]
        fewer = np.minimum(*(chosen.sum(axis=1) for chosen in sums))
        return np.where(fewer > MIN_CLASS_ROWS - 0.5, combine(*sums), np.nan)

    return CountStatistic(len(scores), measure)
