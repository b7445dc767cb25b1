"""What an explanation may cost."""

from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class Budget(BaseModel, extra="forbid", frozen=True):
    """How much each method may compute, and the choices that several share; each method says what it reads.

    Attributes:
        images_per_pass: images at once in one pass through the classifier; on a CPU in each thread. Halved where a
            GPU's memory ends.
        steps: points on the path of Integrated Gradients; more close the gap.
        samples: noisy images of SmoothGrad, and points of GradientSHAP.
        lime_samples: images with hidden squares that LIME's model is fitted to; well above the number of squares.
        noise: standard deviation of SmoothGrad's noise, as a share of the range of pixels.
        baseline: grey level in [0, 1] of what stands for "nothing": 0 black, 1 white.
        patch: side in pixels of the squares that occlusion and LIME hide; None: a quarter of an image's shorter side.
        stride: pixels between the squares of occlusion; None is half of `patch`.
        seed: of all that is drawn.
    """

    images_per_pass: PositiveInt = 32
    steps: PositiveInt = 64
    samples: PositiveInt = 32
    lime_samples: PositiveInt = 256
    noise: NonNegativeFloat = 0.15
    baseline: float = Field(default=0.0, ge=0.0, le=1.0)
    patch: PositiveInt | None = None
    stride: PositiveInt | None = None
    seed: NonNegativeInt = 0
