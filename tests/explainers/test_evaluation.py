"""The evaluation for a method whose map is known to be right."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.explainers.attribution import Explanation
from glasshead.explainers.evaluation import EvaluationParams, ExplainedImages, measure_method
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.explainers.randomisation import randomised_copy

SIDE, ROWS = 6, 4


class OnePixel(nn.Module):
    """Class 1 by the pixel in the corner, which counts most, and a little by all others."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.full((SIDE, SIDE), 0.1)
        weight[0, 0] = 9
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        found = (images.mean(dim=1) * self.weight).sum(dim=(1, 2)) - 6
        return torch.stack([-found, found], dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        return self(images).softmax(dim=1)


def test_the_pixel_that_decides_is_missed_and_brings_the_class_back() -> None:
    classifier = OnePixel().eval()
    masks = np.zeros((ROWS, SIDE, SIDE), bool)
    masks[:, 0, 0] = True
    maps = np.tile(classifier.weight.detach().numpy(), (ROWS, 1, 1))
    subject = ExplainedImages(
        images=torch.ones(ROWS, 3, SIDE, SIDE),
        targets=torch.ones(ROWS, dtype=torch.long),
        masks=masks,
        marks=~masks,
        numbers=np.arange(ROWS),
        falls=np.ones((ROWS, 2)),
    )
    found = measure_method(
        METHODS["saliency"],
        classifier,
        randomised_copy(classifier, 0),
        subject,
        Explanation(maps),
        Budget(baseline=0),
        EvaluationParams(
            deletion_steps=SIDE**2,
            infidelity_samples=2,
            sensitivity_images=2,
            sensitivity_samples=2,
        ),
        n_resamples=20,
        seed=0,
    )
    assert found["deletion_auc"]["value"] < 0.1 < 0.9 < found["insertion_auc"]["value"]
    for measure in ("pointing_game", "relevance_mass_accuracy", "iou"):
        assert found[measure]["value"] == 1
    others = 0.1 * (SIDE**2 - 1)
    assert found["mass_on_mark"]["value"] == pytest.approx(others / (9 + others))
    assert found["randomisation"]["value"] < 1
    assert found["max_sensitivity"]["value"] < 1e-6  # the gradient is the same everywhere
