"""Abstention: the confidence that a classifier must exceed so that few of its answers are wrong.

Selective classification with guaranteed risk: Geifman & El-Yaniv 2017, arXiv:1705.08500. Their search corrects for
testing every threshold. The fixed-sequence testing used here corrects only for its few starting points, as thresholds
are fixed beforehand and tested in a fixed order: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052.
"""

import math
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float

# Thresholds in the order in which they are tested, fixed before any row is seen.
GRID = (
    *(0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92),
    *(0.9, 0.88, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2, 0.0),
)
# Each test sequence goes down the thresholds from where this many wrong answers would still be acceptable. The first
# needs few rows; the others do not end at a single early mistake.
FORGIVEN = (0, 2, 8)


class Abstention(TypedDict):
    """The confidence above which a classifier answers, and its guarantee, as JSON values.

    threshold: answers have a confidence above this; None: no threshold reaches the target, so there are no answers.
    target_error: the fraction of answers, in (0, 1), that may be wrong.
    certainty: the probability, over samples of calibration rows, that the guarantee holds.
    rows: the number of calibration rows.
    coverage: the fraction of calibration rows that is answered.
    error, error_bound: the fraction of these answers that is wrong, and its tested upper bound; None without answers.
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
    """Return the lowest threshold for which tests reject that more than `target_error` of the answers are wrong.

    Each test sequence goes down `GRID` until its binomial test no longer rejects; the sequences share the significance
    level 1 - `certainty`. With probability `certainty` over samples of calibration rows, at most `target_error` of the
    answers to new images from the same distribution are wrong. The temperature was fitted on the same rows, which the
    tests ignore.
    """
    from scipy.special import bdtr, bdtri  # imported here, as prediction does not need scipy

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
    """Return the last index of the run of True in `refuted` from the first True of `begun` on; -1 without a run."""
    first = int(begun.argmax()) if begun.any() else len(begun)
    ends = np.flatnonzero(~refuted[first:])
    last = (first + int(ends[0]) if len(ends) else len(refuted)) - 1
    return last if last >= first else -1


def rows_needed(target_error: float, certainty: float) -> int:
    """Return the least number of answered calibration rows, all of them correct, that can show `target_error`.

    With n rows and no mistake, the binomial test rejects if (1 - target_error)^n is at most the significance level.
    """
    return math.ceil(math.log((1 - certainty) / len(FORGIVEN)) / math.log1p(-target_error))


def why_abstain(confidence: float, abstention: Abstention) -> str | None:
    """Return why a classifier does not answer with this confidence, or None if it answers."""
    threshold, target = abstention["threshold"], abstention["target_error"]
    if threshold is None:
        needed = rows_needed(target, abstention["certainty"])
        return (
            f"no confidence was shown to keep errors below {100 * target:g} % on {abstention['rows']} calibration "
            f"images; that needs at least {needed} above a threshold, all correct, and more with every mistake"
        )
    if confidence > threshold:
        return None
    return f"confidence is not above {threshold:g}, from where at most {100 * target:g} % of answers are wrong"
