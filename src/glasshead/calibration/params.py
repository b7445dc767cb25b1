"""Parameters of `calibrate` and `evaluate`."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]


class CalibrateParams(BaseModel, extra="forbid", frozen=True):
    """What to do if no temperature is best, and how rarely answers may be wrong.

    Attributes:
        without_optimum: if no temperature is best, for instance as every row is right, `keep` T = 1 with a warning, or
            `fail`.
        target_error: the fraction of answers that may be wrong; predictions abstain where it cannot be ensured.
        certainty: the probability with which `target_error` must hold.
    """

    without_optimum: Literal["keep", "fail"] = "keep"
    target_error: float = Field(default=0.02, gt=0, lt=1)
    certainty: float = Field(default=0.95, gt=0, lt=1)


class EvaluateParams(BaseModel, extra="forbid", frozen=True):
    """The gate (0 switches it off), bins, resamples, and the size of the figure of confused pairs."""

    minimum_accuracy: Fraction = 0.65
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    n_pairs: PositiveInt = 6
    n_examples: PositiveInt = 8
