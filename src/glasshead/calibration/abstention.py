"""When not to answer: the confidence that a classifier must exceed, so that few of its answers are wrong.

Selective classification with guaranteed risk: Geifman & El-Yaniv 2017, arXiv:1705.08500. Their search pays for every
threshold it looks at; here thresholds are fixed beforehand and tested in a fixed order from a few starts, and only
starts are paid for: fixed-sequence testing, Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052.
"""

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float

# Thresholds in the order in which they are tested, fixed before any row is seen.
GRID = (
    *(0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92),
    *(0.9, 0.88, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2, 0.0),
)
# Walks down the thresholds begin where this many wrong answers would still do: the first finds something in few rows,
# the others are not ended by a single early mistake.
FORGIVEN = (0, 2, 8)


class Abstention(TypedDict):
    """Above which confidence a classifier answers, and what that promises; JSON as it is.

    threshold: answers have a confidence above it; 0: all do; None: no threshold reaches the target, so none does.
    target_error: the fraction of its answers, in (0, 1), that may be wrong.
    certainty: how probable it is, over draws of the calibration rows, that the promise holds.
    rows: calibration rows.
    coverage: fraction of them that is answered.
    error, error_bound: fraction of those answers that is wrong, and the upper bound that was tested; None without
    answers.
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
    """Return the lowest threshold down to which an error of answers above `target_error` is refuted.

    Each walk goes down `GRID` to the first threshold where a binomial test does not refute it, at its part of the level
    1 - `certainty`. With probability `certainty` over draws of the rows, at most `target_error` of the answers to new
    images like them are wrong. Where `confidence` was calibrated on the same rows, that its one temperature was fitted
    to them is neglected.
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
    abstention: Abstention = {
        "threshold": None,
        "target_error": target_error,
        "certainty": certainty,
        "rows": len(confidence),
        "coverage": 0.0,
        "error": None,
        "error_bound": None,
    }
    if lowest >= 0:
        abstention["threshold"] = GRID[lowest]
        abstention["coverage"] = float(counts[lowest] / len(confidence))
        abstention["error"] = float(wrong[lowest] / counts[lowest])
        abstention["error_bound"] = float(bdtri(wrong[lowest], counts[lowest], level))
    return abstention


def _last_of_run(refuted: Bool[np.ndarray, " t"], begun: Bool[np.ndarray, " t"]) -> int:
    """Return the last place of the run of `refuted` at the first place where it has `begun`; -1 without one."""
    first = int(begun.argmax()) if begun.any() else len(begun)
    ends = np.flatnonzero(~refuted[first:])
    last = (first + int(ends[0]) if len(ends) else len(refuted)) - 1
    return last if last >= first else -1


def abstains(confidence: float, abstention: Abstention) -> bool:
    """Return whether a classifier does not answer with this confidence."""
    threshold = abstention["threshold"]
    return threshold is None or confidence <= threshold
