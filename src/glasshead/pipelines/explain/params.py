"""Parameters of `explain`."""

from typing import Literal

from pydantic import BaseModel, PositiveInt

# grey level in [0, 1] of the image that Integrated Gradients starts from
BASELINES = {"black": 0.0, "grey": 0.5, "white": 1.0}


class ExplainParams(BaseModel, extra="forbid", frozen=True):
    """How many test images are explained, and how much each explanation may cost."""

    images: PositiveInt = 16
    background: PositiveInt = 100
    engine: Literal["exact", "kernel"] = "exact"
    max_coalitions: PositiveInt = 4096
    baseline: Literal["black", "grey", "white"] = "black"
    steps: PositiveInt = 64
    internal_batch_size: PositiveInt = 64
    n_resamples: PositiveInt = 1000
