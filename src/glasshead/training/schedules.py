"""Learning-rate schedules as pure functions of the step, so that a resumed training needs no state of theirs."""

import math
from typing import Literal

from pydantic import BaseModel, Field

START, END = 1 / 25, 1 / 25e4  # of one_cycle, as shares of the peak; PyTorch's defaults


class ScheduleParams(BaseModel, extra="forbid", frozen=True):
    """The course of the learning rate over one phase."""

    name: Literal["cosine", "one_cycle", "triangular", "constant"] = "cosine"
    warmup_share: float = Field(
        default=0.1, ge=0, le=1, description="share of the steps in which the rate rises"
    )


def rate_factor(params: ScheduleParams, step: int, steps: int) -> float:
    """Return the factor in [0, 1] on the peak learning rate at `step`, counted from 0, of `steps`.

    All but one_cycle rise linearly, so that the first step after the rise has factor 1. Then `cosine` (Loshchilov &
    Hutter 2017, arXiv:1608.03983, without restarts) and `triangular` fall towards 0, `constant` stays. `one_cycle`
    (Smith & Topin 2019, arXiv:1708.07120) rises from 1/25 and falls to 1/250,000 along cosines, as PyTorch's OneCycleLR
    does; momentum stays as it is.
    """
    if params.name == "one_cycle":
        return _one_cycle(step, params.warmup_share * steps - 1, steps - 1)
    rise = round(params.warmup_share * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    fallen = (step - rise) / (steps - rise)
    if params.name == "triangular":
        return 1 - fallen
    return (1 + math.cos(math.pi * fallen)) / 2 if params.name == "cosine" else 1.0


def _one_cycle(step: int, peak: float, last: int) -> float:
    """Return the factor at `step`, where the rise ends at step `peak` and the fall at step `last`."""
    if step < peak:
        return _along_cosine(START, 1.0, step / peak)
    return _along_cosine(1.0, END, (step - peak) / (last - peak)) if last > max(peak, 0) else 1.0


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
