"""Parameters of `evaluate`."""

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]


class EvaluateParams(BaseModel, extra="forbid", frozen=True):
    """The gate (0 switches it off), bins and resamples, and what the figure of confusions shows."""

    minimum_accuracy: Share = 0.65
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    n_pairs: PositiveInt = 6
    n_examples: PositiveInt = 8
