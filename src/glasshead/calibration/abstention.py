"""Abstention: the confidence that a classifier must exceed so that few of its answers are wrong.

Selective classification with guaranteed risk: Geifman & El-Yaniv 2017, arXiv:1705.08500. Unlike their search, which
corrects for every threshold, fixed-sequence testing corrects only for its few starts: thresholds are fixed beforehand
and tested in a fixed order. Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052.
"""

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float

# Thresholds in the order in which they are tested, fixed before any row is seen.
GRID = (
    *(0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92),
    *(0.9, 0.88, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2, 0.0),
)
# Walks down the thresholds start where this many wrong answers would still be acceptable. The first needs few rows; the
# others are not ended by a single early mistake.
FORGIVEN = (0, 2, 8)


class Abstention(TypedDict):
    """The confidence above which a classifier answers, and its guarantee, as JSON values.

    threshold: answers have a confidence above it; None: no threshold reaches the target, so it never answers.
    target_error: the fraction of its answers, in (0, 1), that may be wrong.
    certainty: the probability, over samples of calibration rows, that the guarantee holds.
    rows: calibration rows.
    coverage: the fraction of these rows that is answered.
    error, error_bound: the fraction of wrong answers, and its tested upper bound; None without answers.
    """

    threshold: float | None
    target_error: float
    certainty: float
    rows: int
    coverage: float
    error: float | None
    error_bound: float | None


def fit_abstention(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    target_error: float,
    certainty: float,
) -> Abstention:
    """Return the lowest threshold down to which tests reject an error of answers above `target_error`.

    Each walk goes down `GRID` until a binomial test, at its part of the level 1 - `certainty`, does not reject. With
    probability `certainty` over samples of rows, at most `target_error` of the answers to new images like them are
    wrong. It is neglected that the temperature was fitted on the same rows.
    """
    from scipy.special import bdtr, bdtri  # predictions do without

    level = (1 - certainty) / len(FORGIVEN)
    answered = confidence > np.array(GRID)[:, None]
    counts, wrong = answered.sum(axis=1), (answered & ~correct).sum(axis=1)
    refuted = bdtr(wrong, counts, target_error) <= level
    lowest = max(
        _last_of_run(refuted, bdtr(np.minimum(forgiven, counts), counts, target_error) <= level)
        for forgiven in FORGIVEN
    )
    answers = lowest >= 0
    return {
        "threshold": GRID[lowest] if answers else None,
        "target_error": target_error,
        "certainty": certainty,
        "rows": len(confidence),
        "coverage": float(counts[lowest] / len(confidence)) if answers else 0.0,
        "error": float(wrong[lowest] / counts[lowest]) if answers else None,
        "error_bound": float(bdtri(wrong[lowest], counts[lowest], level)) if answers else None,
    }


def _last_of_run(refuted: Bool[np.ndarray, " t"], begun: Bool[np.ndarray, " t"]) -> int:
    """Return the last index of the run of `refuted` that starts where it has first `begun`; -1 without one."""
    first = int(begun.argmax()) if begun.any() else len(begun)
    ends = np.flatnonzero(~refuted[first:])
    last = (first + int(ends[0]) if len(ends) else len(refuted)) - 1
    return last if last >= first else -1


def abstains(confidence: float, abstention: Abstention) -> bool:
    """Return whether a classifier does not answer with this confidence."""
    threshold = abstention["threshold"]
    return threshold is None or confidence <= threshold
