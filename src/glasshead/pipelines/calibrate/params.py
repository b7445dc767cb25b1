"""Parameters of `calibrate`."""

from typing import Literal

from pydantic import BaseModel


class CalibrateParams(BaseModel, extra="forbid", frozen=True):
    """What to do where no temperature of the classifier is best, as when every row is right.

    `fail`, or `keep` T = 1 with a warning.
    """

    without_optimum: Literal["fail", "keep"] = "fail"
