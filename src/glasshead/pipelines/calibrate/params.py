"""Parameters of `calibrate`."""

from typing import Literal

from pydantic import BaseModel


class CalibrateParams(BaseModel, extra="forbid", frozen=True):
    """What to do where no temperature of the classifier is best, as when every row is right.

    `keep` T = 1, with a warning, or `fail`.
    """

    without_optimum: Literal["keep", "fail"] = "keep"
