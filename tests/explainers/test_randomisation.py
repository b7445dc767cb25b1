"""The check of random weights: what is shuffled, how alike maps are, and what is said of a method."""

import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torch import nn

from glasshead.explainers.gradients import smoothgrad
from glasshead.explainers.measures import Measure, summarise
from glasshead.explainers.passes import Budget
from glasshead.explainers.randomisation import (
    best_methods,
    map_similarity,
    randomisation_verdict,
    randomised_copy,
    sanity_check,
    shuffle_parameters,
)

SIDE = 16


class Small(nn.Module):
    """A convolution, a hidden layer and an output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.output = nn.Linear(4 * SIDE * SIDE, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.output(self.body(images))


def saliency(model, images, targets):
    inputs = images.detach().requires_grad_()
    (grad,) = torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)
    return grad.abs().amax(dim=1).numpy()


def edge_detector(model, images, targets):
    grey = images.mean(dim=1).numpy()
    return np.hypot(sobel(grey, axis=1), sobel(grey, axis=2))


@pytest.fixture
def given() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return Small().eval(), torch.rand(6, 3, SIDE, SIDE, generator=draw), torch.arange(6) % 3


def similarities(explainer, given):
    model, *inputs = given
    return map_similarity(explainer(model, *inputs), explainer(randomised_copy(model, 0), *inputs))


def measure(explainer, given) -> Measure:
    return summarise({"randomisation": similarities(explainer, given)[0]}, 200, 0)["randomisation"]


def test_an_edge_detector_does_not_change_and_fails(given):
    for similarity in similarities(edge_detector, given):
        np.testing.assert_allclose(similarity, 1)
    assert randomisation_verdict(measure(edge_detector, given)) == "fails"


def test_a_gradient_changes_and_passes(given):
    found = measure(saliency, given)
    assert abs(found["value"]) < 0.2
    assert randomisation_verdict(found) == "passes"


def test_every_layer_of_the_copy_is_another_and_the_model_itself_as_it_was(given):
    model = given[0]
    before = copy.deepcopy(model.state_dict())
    first, again, other = (randomised_copy(model, seed).state_dict() for seed in (0, 0, 1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(first[name], again[name])
        if name.endswith("weight"):  # a bias of few values may stay by chance
            assert not torch.equal(first[name], value)
            assert not torch.equal(first[name], other[name])


def test_shuffled_parameters_are_the_same_values_elsewhere():
    layer = nn.Linear(20, 30)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    shuffle_parameters(layer, seed=0)
    for old, new in zip(before, layer.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert torch.equal(old.flatten().sort().values, new.detach().flatten().sort().values)


def test_a_map_that_breaks_has_changed_but_one_that_was_broken_tells_nothing(given):
    model = given[0]

    def breaking(network, images, targets):
        maps = edge_detector(network, images, targets)
        maps[:2] = maps[:2] if network is model else 0
        maps[2] = 0
        return maps

    for similarity in similarities(breaking, given):
        np.testing.assert_allclose(similarity, [0, 0, np.nan, 1, 1, 1])


def test_noise_that_looks_at_no_network_fails():
    """Draws of its own, the same for every batch, must not pass for a change of the network."""

    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            square = (images**2).flatten(1).sum(dim=1, keepdim=True)
            return torch.cat([square, square**2, -square], dim=1)

    images = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))

    def explain(model, images, targets):
        return smoothgrad(model, images, targets, Budget(samples=2, noise=2.0)).maps

    given = Blind().eval(), images, torch.arange(6) % 3
    maps = explain(*given)
    found, _ = map_similarity(
        maps[:2], explain(randomised_copy(given[0], 0), images[:2], given[2][:2])
    )
    np.testing.assert_allclose(found, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (None, None, None, "fails"),
        (0.5, None, None, "unresolved"),
        (0.5, 0.4, 0.69, "passes"),
        (0.69, 0.65, 0.71, "unresolved"),
        (0.8, 0.7, 0.9, "fails"),
    ],
)
def test_the_verdict_is_the_intervals(value, low, high, verdict):
    found = Measure(value=value, low=low, high=high, better="lower", n=9)
    assert randomisation_verdict(found) == verdict


def measures(insertion: float | None = None, randomisation: float | None = 0.1) -> dict:
    def measure(value):
        return {"value": value, "low": value, "high": value, "better": "higher"}

    return {"insertion_auc": measure(insertion), "randomisation": measure(randomisation)}


@pytest.mark.parametrize(
    ("similarity", "expected"), [(0.2, "passes"), (0.95, "fails"), (None, "fails")]
)
def test_a_method_stands_as_its_randomisation_check_says(similarity, expected):
    assert sanity_check("lime", {"lime": measures(0.5, similarity)}) == expected


def test_one_whose_interval_holds_the_threshold_is_open():
    known = measures(0.5, 0.69)
    known["randomisation"]["high"] = 0.75
    assert sanity_check("lime", {"lime": known}) == "unresolved"
    evidence = {"lime": known, "occlusion": measures(0.1), "saliency": measures(0.9, 0.9)}
    assert best_methods(evidence, evidence, 9) == ["occlusion"]
    del evidence["occlusion"]
    assert best_methods(evidence, evidence, 9) == ["lime"]


def test_a_method_without_that_measure_is_not_checked():
    checked = measures(0.5)
    del checked["randomisation"]
    assert sanity_check("lime", {"lime": checked}) == sanity_check("lime", {}) == "not checked"


def test_the_best_have_the_highest_insertion_of_those_that_pass():
    evidence = {
        "saliency": measures(0.5),
        "attention_rollout": measures(0.9, randomisation=0.99),
        "occlusion": measures(0.7),
        "lime": measures(None),
    }
    assert best_methods(evidence, evidence, 9) == ["occlusion", "saliency", "lime"]
    assert best_methods(evidence, evidence, 1) == ["occlusion"]
    assert best_methods(["attention_rollout", "unknown"], evidence, 2) == ["unknown"]


def test_where_all_fail_the_best_of_them_is_left():
    evidence = {"lime": measures(0.4, 0.9), "occlusion": measures(0.6, 0.8)}
    assert best_methods(evidence, evidence, 1) == ["occlusion"]
    assert best_methods([], evidence, 1) == []
