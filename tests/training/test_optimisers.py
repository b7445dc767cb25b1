"""Which parameters go to which optimiser, that they step as PyTorch's do, and schedules against PyTorch's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glasshead.training.optimisers import (
    Muon,
    OptimiserParams,
    ScheduleParams,
    build_optimisers,
    orthogonalise,
    rate_factor,
    set_rates,
)
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


SHAPES = [(8, 8), (16, 4), (4, 16), (64, 48), (1, 9), (9, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_it_is_the_polar_factor_within_muons_tolerance(shape, scale):
    """Same singular vectors as the matrix, singular values of 1 within 0.35: what five steps promise."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(*shape), full_matrices=False)
    s = torch.linspace(0.05, 1.0, min(shape))
    result = orthogonalise(scale * (u * s) @ v)
    core = u.T @ result @ v.T
    diagonal = core.diagonal()
    torch.testing.assert_close(core, torch.diag(diagonal), atol=1e-4, rtol=0)
    assert ((diagonal - 1).abs() < 0.35).all()
    cosine = (result * (u @ v)).sum() / (result.norm() * (u @ v).norm())
    assert cosine > 0.95


def test_it_does_not_depend_on_the_matrixs_scale():
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(matrix), orthogonalise(1000 * matrix))
    torch.testing.assert_close(orthogonalise(matrix.T), orthogonalise(matrix).T)


def test_a_zero_gradient_moves_nothing():
    assert orthogonalise(torch.zeros(3, 5)).abs().max() == 0


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_two_steps_are_those_of_the_formula(shape):
    torch.manual_seed(0)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(2)]
    parameter = torch.nn.Parameter(start.clone())
    optimiser = Muon([parameter], lr=0.1, weight_decay=0.5, momentum=0.9)
    expected, momentum = start.clone(), torch.zeros(shape)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
        torch.testing.assert_close(parameter.grad, gradient)
        momentum = 0.9 * momentum + 0.1 * gradient
        nesterov = 0.1 * gradient + 0.9 * momentum
        stretch = max(1, shape[0] / shape[1]) ** 0.5
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * stretch * orthogonalise(nesterov)
        torch.testing.assert_close(parameter.detach(), expected)


def test_a_parameter_without_a_gradient_stays():
    still, moved = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    moved.grad = torch.eye(2)
    Muon([still, moved], lr=0.1, weight_decay=0.1).step()
    assert (still == 1).all()
    assert not (moved == 1).all()


def test_it_minimises_a_quadratic():
    torch.manual_seed(0)
    target = torch.randn(6, 4)
    parameter = torch.nn.Parameter(torch.zeros(6, 4))
    optimiser = Muon([parameter], lr=0.05)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimiser.zero_grad()
        (parameter - target).square().sum().backward()
        optimiser.step()
    assert (parameter - target).norm() < 0.05 * target.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_filter_is_stepped_as_the_matrix_of_its_rows(layout):
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 6, 3, 2, 2)
    filters = torch.nn.Parameter(start.clone(memory_format=layout))
    matrix = torch.nn.Parameter(start.flatten(1))
    filters.grad, matrix.grad = gradient.clone(memory_format=layout), gradient.flatten(1)
    optimiser = Muon([filters, matrix], lr=0.1, weight_decay=0.5)
    optimiser.step()
    optimiser.step()
    torch.testing.assert_close(filters.detach().flatten(1), matrix.detach())
    assert filters.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_fixed_norm_makes_steps_relative_whatever_the_scale_of_weights(scale):
    """Without a rate the norm is that of m orthonormal rows; with one, the step is relative to it."""
    torch.manual_seed(0)
    start, gradient = torch.randn(6, 3, 2, 2), torch.randn(6, 3, 2, 2)
    ends = []
    for factor in (1.0, scale):
        parameter = torch.nn.Parameter(factor * start)
        parameter.grad = gradient.clone()
        Muon([parameter], lr=0.0, fixed_norm=True).step()
        assert parameter.norm().item() == pytest.approx(6**0.5, rel=1e-5)
        Muon([parameter], lr=0.2, fixed_norm=True).step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[0], ends[1])


NAMES = ["cosine", "one_cycle", "triangular", "constant"]


def factors(name: str, steps: int, warmup_fraction: float) -> list[float]:
    params = ScheduleParams(name=name, warmup_fraction=warmup_fraction)
    return [rate_factor(params, step, steps) for step in range(steps)]


def torch_factors(scheduler: type, steps: int, **settings: object) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = scheduler(optimiser, **settings)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return found


def test_cosine_without_warm_up_is_pytorchs():
    expected = torch_factors(torch.optim.lr_scheduler.CosineAnnealingLR, 37, T_max=37)
    assert factors("cosine", 37, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_one_cycle_is_pytorchs(fraction):
    expected = torch_factors(
        torch.optim.lr_scheduler.OneCycleLR,
        60,
        max_lr=1.0,
        total_steps=60,
        pct_start=fraction,
        cycle_momentum=False,
    )
    assert factors("one_cycle", 60, fraction) == pytest.approx(expected)


def test_triangular_is_two_straight_lines():
    assert factors("triangular", 10, 0.4) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )


def test_constant_rises_and_stays():
    assert factors("constant", 6, 0.5) == [0.25, 0.5, 0.75, 1, 1, 1]


@given(st.sampled_from(NAMES), st.integers(1, 300), st.floats(0, 1))
def test_every_factor_is_usable_and_the_rate_rises_before_it_falls(name, steps, fraction):
    found = factors(name, steps, fraction)
    assert all(0 < factor <= 1 for factor in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize("wrong", [{"name": "step"}, {"warmup_fraction": 1.5}, {"gamma": 1}])
def test_a_mistyped_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScheduleParams(**wrong)
