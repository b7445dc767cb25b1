"""Parameters of `export`."""

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]


class LatencyParams(BaseModel, extra="forbid", frozen=True):
    """Batch sizes, how often each is timed, and by how many threads it is computed."""

    batches: tuple[PositiveInt, ...] = (1, 64)
    repeats: PositiveInt = 100
    threads: PositiveInt = 1


class ExportParams(BaseModel, extra="forbid", frozen=True):
    """ONNX's opset, what must be alike, and how it is measured.

    Attributes:
        opset: of ONNX's operators; a runtime must know it.
        images: test images drawn at random, on which the exports are compared.
        minimum_agreement: the fraction of them that ONNX and the program must give the same class as the classifier.
        maximum_difference: of any probability.
        n_bins: of ECE.
        n_resamples: of the bootstrap.
    """

    opset: int = Field(default=18, ge=18, le=23)
    images: PositiveInt = 1000
    minimum_agreement: Fraction = 0.999
    maximum_difference: Fraction = 1e-4
    n_bins: PositiveInt = 15
    n_resamples: PositiveInt = 1000
    latency: LatencyParams = LatencyParams()
