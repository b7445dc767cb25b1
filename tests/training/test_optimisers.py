"""Which parameters go to which optimiser, with what rate and decay, and that they step as PyTorch's do."""

import pytest
import torch
from torch import nn

from glasshead.training.muon import Muon
from glasshead.training.optimisers import OptimiserParams, build_optimisers, set_rates
from glasshead.training.phases import ParameterGroup, Phase, one_phase


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),  # 0: a filter and a bias
        nn.Conv2d(6, 6, 3, groups=6),  # 1: depthwise
        nn.BatchNorm2d(6),  # 2
        nn.Flatten(),
        nn.Linear(24, 8),  # 4: a hidden matrix
        nn.Linear(8, 2),  # 5: the head
    )


def described(model: nn.Module, params: OptimiserParams, phase: Phase | None = None) -> dict:
    """Return (optimiser, peak, decay) of every trained parameter, by name."""
    names = {id(value): name for name, value in model.named_parameters()}
    return {
        names[id(value)]: (type(optimiser).__name__, group["peak"], group["weight_decay"])
        for optimiser in build_optimisers(model, phase or one_phase(model, 1), params)
        for group in optimiser.param_groups
        for value in group["params"]
    }


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adamw", "AdamW")])
def test_decay_acts_on_matrices_and_filters_alone(name, kind):
    model = network()
    found = described(model, OptimiserParams(name=name, learning_rate=0.3, weight_decay=0.1))
    assert found == {
        key: (kind, 0.3, 0.1 if value.ndim > 1 else 0.0) for key, value in model.named_parameters()
    }


@pytest.mark.parametrize(("others", "kind"), [("sgd", "SGD"), ("adamw", "AdamW")])
def test_muon_takes_hidden_matrices_and_dense_filters(others, kind):
    params = OptimiserParams(
        name="muon", others=others, learning_rate=0.3, matrix_learning_rate=0.2, weight_decay=0.1
    )
    found = described(network(), params)
    assert {name for name, (kind, _, _) in found.items() if kind == "Muon"} == {
        "0.weight",
        "4.weight",
    }
    assert found["4.weight"] == ("Muon", 0.2, 0.1)
    assert found["1.weight"] == found["5.weight"] == (kind, 0.3, 0.1)
    assert found["5.bias"] == (kind, 0.3, 0.0)
    assert len(found) == len(list(network().parameters()))


def test_a_phase_decides_what_is_trained_and_how_fast():
    phase = Phase(
        "head",
        1,
        (ParameterGroup(("5.weight", "5.bias")), ParameterGroup(("4.weight",), rate=0.1)),
    )
    found = described(network(), OptimiserParams(name="muon", learning_rate=0.5), phase)
    assert found["5.weight"][:2] == found["5.bias"][:2] == ("SGD", 0.5)
    assert found["4.weight"][:2] == ("Muon", pytest.approx(0.002))
    assert len(found) == 3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_pytorchs_nesterov(momentum):
    ours, theirs = network(), network()
    params = OptimiserParams(learning_rate=0.1, momentum=momentum, weight_decay=0)
    (optimiser,) = build_optimisers(ours, one_phase(ours, 1), params)
    peer = torch.optim.SGD(theirs.parameters(), 0.05, momentum=momentum, nesterov=momentum > 0)
    set_rates([optimiser], 0.5)
    for _ in range(3):
        for model, each in ((ours, optimiser), (theirs, peer)):
            each.zero_grad()
            model(torch.ones(4, 3, 6, 6)).square().sum().backward()
            each.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_rate_is_a_factor_of_its_own_peak():
    model = network()
    optimisers = build_optimisers(model, one_phase(model, 1), OptimiserParams(name="muon"))
    for factor in (0.5, 0.25):
        set_rates(optimisers, factor)
    rates = {
        type(optimiser): {group["lr"] for group in optimiser.param_groups}
        for optimiser in optimisers
    }
    assert rates == {Muon: {0.02 / 4}, torch.optim.SGD: {0.05 / 4}}


@pytest.mark.parametrize("wrong", [{"name": "adam"}, {"learning_rate": 0}, {"momentum": 1.0}])
def test_a_mistyped_parameter_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimiserParams(**wrong)
