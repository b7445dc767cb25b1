"""Muon against the singular value decomposition it stands for, and against its update written out by hand."""

import pytest
import torch

from glasshead.training.muon import Muon, orthogonalise

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
