"""Parameters of `calibrate` and `evaluate`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]


class CalibrateParams(BaseModel, extra="forbid", frozen=True):
    """What to do if the NLL has no minimum at a finite temperature, and how many answers may be wrong.

    Attributes:
        without_optimum: if no temperature minimises the NLL, for instance because every row is classified correctly,
            `keep` T = 1 with a warning, or `fail`.
        target_error: the fraction of answers that may be wrong; the classifier abstains from predictions for which this
            cannot be ensured.
        certainty: the probability with which `target_error` must hold.
    """

    without_optimum: Literal["keep", "fail"] = "keep"
    target_error: float = Field(default=0.02, gt=0, lt=1)
    certainty: float = Field(default=0.95, gt=0, lt=1)


class EvaluateParams(BaseModel, extra="forbid", frozen=True):
    """Settings of `evaluate`: the accuracy gate (0: none), bins, resamples, and the size of a figure."""

    minimum_accuracy: Fraction = 0.0
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    n_pairs: PositiveInt = 6
    n_examples: PositiveInt = 8
