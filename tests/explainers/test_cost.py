"""What explanations cost: operations in closed form, passes as counted, and how counts are reduced."""

import pytest
import torch
from torch import nn

from glasshead.explainers.cost import LEAST, forward_operations, passes, reduced
from glasshead.explainers.evaluation import EvaluationParams
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import Budget
from glasshead.models import packed

SIDE = 12


class Counted(nn.Module):
    """A linear classifier that counts the images that pass through it; with gradients they count twice."""

    classes = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.final = nn.Linear(3 * SIDE * SIDE, 3)
        self.passed = 0

    def forward(self, images):
        self.passed += len(images) * (1 + images.requires_grad)
        return self.final(images.flatten(1))


def test_operations_of_layers_in_closed_form():
    conv = nn.Conv2d(3, 4, 3, padding=1, groups=1)
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(4 * SIDE * SIDE, 5))
    expected = 2 * (3 * 9 * 4 * SIDE * SIDE) + 2 * (4 * SIDE * SIDE * 5)
    assert forward_operations(model, SIDE) == expected


def test_operations_of_attention_are_counted():
    """A layer of width d on n tokens: 24 n d² in four projections and an MLP of width 4 d, 4 n² d in attention."""
    width, tokens = 8, 9
    layer = nn.TransformerEncoderLayer(width, 2, 4 * width, batch_first=True).eval()

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images):
            return self.layer(images.new_zeros(1, tokens, width))

    assert forward_operations(Tokens(), SIDE) == 24 * tokens * width**2 + 4 * tokens**2 * width


@pytest.mark.parametrize(
    "name",
    [
        "saliency",
        "smoothgrad",
        "integrated_gradients",
        "gradient_shap",
        "occlusion",
        "lime",
        "random",
        "edge_detector",
    ],
)
def test_each_method_takes_the_passes_that_it_says(name, monkeypatch):
    monkeypatch.setattr(packed, "is_available", lambda: False)
    model, budget = Counted().eval(), Budget(steps=9, samples=7, lime_samples=50, patch=5, stride=2)
    images, targets = torch.rand(4, 3, SIDE, SIDE), torch.tensor([0, 1, 2, 0])
    METHODS[name](model, images, targets, budget)
    said = METHODS[name].passes(budget, SIDE) * len(images)
    # the passes of the images as they are, and of grey ones, which are few and shared, do not count
    assert said <= model.passed <= said + 4 + len(images) * (name == "lime") + 3


def test_the_passes_of_a_whole_evaluation():
    evaluation = EvaluationParams(
        images=10,
        deletion_steps=3,
        infidelity_samples=2,
        randomisation_images=5,
        sensitivity_images=4,
        sensitivity_samples=6,
    )
    methods = {"saliency": None, "lime": 8, "random": None}
    budget = Budget(lime_samples=50)
    saliency = 2 * (20 + 10 + 5 + 4 * 6) + 2 * 4 * 10
    lime = 50 * (8 + 5 + 4 * 6) + 2 * 4 * 8
    baseline = 2 * 4 * 10
    assert passes(methods, 20, budget, evaluation, SIDE) == 2 * 10 + saliency + lime + baseline


@pytest.mark.parametrize("params", [Budget(), EvaluationParams()])
@pytest.mark.parametrize("divisor", [1.0, 1.5, 3.0, 100.0])
def test_counts_are_divided_but_never_below_what_says_something_and_never_raised(params, divisor):
    small = reduced(params, divisor)
    for name, value in params.model_dump().items():
        if name in LEAST:
            assert getattr(small, name) == min(value, max(LEAST[name], round(value / divisor)))
        else:
            assert getattr(small, name) == value
    none = params.model_copy(update={name: 1 for name in LEAST if hasattr(params, name)})
    assert reduced(none, divisor) == none
