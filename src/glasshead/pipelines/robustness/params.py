"""Parameters of `robustness`."""

from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt

from glasshead.device import Device

Strengths = tuple[NonNegativeFloat, ...]
Qualities = tuple[Annotated[int, Field(ge=1, le=100)], ...]


class RobustnessParams(BaseModel, extra="forbid", frozen=True):
    """The number of test images, and the strengths of each perturbation; an empty list skips it.

    Attributes:
        images: sampled at random from the test split, the same for all perturbations.
        gaussian_noise: standard deviations in 1/255.
        gaussian_blur: standard deviations in percent of the shorter side.
        jpeg: qualities from 1 to 100.
        fgsm, pgd: epsilons in 1/255.
        pgd_steps: steps of each PGD attack.
        batch_size: images in one pass of an attack; halved if a GPU runs out of memory.
        n_resamples: resamples of the bootstrap.
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
