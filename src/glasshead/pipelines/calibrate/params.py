"""Parameters of `calibrate`."""

from typing import Literal

from pydantic import BaseModel, Field


class CalibrateParams(BaseModel, extra="forbid", frozen=True):
    """What to do where no temperature is best, and how rarely answers may be wrong.

    Attributes:
        without_optimum: where no temperature of the classifier is best, as when every row is right: `keep` T = 1, with
            a warning, or `fail`.
        target_error: the share of answers that may be wrong; below the confidence this takes, predictions abstain.
        certainty: how sure that must be.
    """

    without_optimum: Literal["keep", "fail"] = "keep"
    target_error: float = Field(default=0.02, gt=0, lt=1)
    certainty: float = Field(default=0.95, gt=0, lt=1)
