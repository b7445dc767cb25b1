"""Parameters of `robustness`."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt

from glasshead.device import Device

Strengths = tuple[NonNegativeFloat, ...]
Qualities = tuple[Annotated[int, Field(ge=1, le=100)], ...]


class RobustnessParams(BaseModel, extra="forbid", frozen=True):
    """On how many test images, and how strong each change is; an empty list leaves a change out.

    Attributes:
        images: drawn at random from the test split, the same for all changes.
        gaussian_noise: standard deviations in 1/255.
        gaussian_blur: standard deviations in per cent of the shorter side.
        jpeg: qualities from 1 to 100.
        fgsm, pgd: epsilons in 1/255.
        pgd_steps: of each attack by PGD.
        batch_size: in an attack; halved where a GPU's memory ends.
        n_resamples: of the bootstrap.
        device: where the classifier computes.
    """

    images: PositiveInt = 300
    gaussian_noise: Strengths = (4, 8, 16, 32, 64)
    gaussian_blur: Strengths = (1, 2, 4, 8)
    jpeg: Qualities = (80, 50, 20, 10, 5)
    fgsm: Strengths = (1, 2, 4, 8)
    pgd: Strengths = (1, 2, 4, 8)
    pgd_steps: PositiveInt = 10
    batch_size: PositiveInt = 32
    n_resamples: PositiveInt = 1000
    device: Device = "auto"
