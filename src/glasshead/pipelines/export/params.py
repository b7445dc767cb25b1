"""Parameters of `export`."""

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]


class LatencyParams(BaseModel, extra="forbid", frozen=True):
    """Batch sizes, repetitions for each, and threads."""

    batches: tuple[PositiveInt, ...] = (1, 64)
    repeats: PositiveInt = 100
    threads: PositiveInt = 1


class ExportParams(BaseModel, extra="forbid", frozen=True):
    """ONNX's opset, the required agreement, and how it is measured.

    Attributes:
        opset: the version of ONNX's operators; a runtime must support it.
        images: test images sampled at random, on which exports are compared.
        minimum_agreement: the fraction of them with the classifier's class that ONNX and the program must reach.
        maximum_difference: the largest difference allowed in any probability.
        n_bins: bins of ECE.
        n_resamples: resamples of the bootstrap.
    """

    opset: int = Field(default=18, ge=18, le=23)
    images: PositiveInt = 1000
    minimum_agreement: Fraction = 0.999
    maximum_difference: Fraction = 1e-4
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    latency: LatencyParams = LatencyParams()
