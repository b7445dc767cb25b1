"""Infidelity and sensitivity of models and methods for which they are known."""

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from torch import nn

from glasshead.explainers.faithfulness import Noise, infidelity, max_sensitivity, noise_response

SIDE = 4
WEIGHTS = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.tensor([0, 1, 1, 0, 1])


def linear(images: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bchw,kchw->bk", images, WEIGHTS)


NUMBERS = np.arange(5)


def missed(
    maps: np.ndarray, images: torch.Tensor, targets: torch.Tensor, noise: Noise
) -> np.ndarray:
    """Return the infidelity of maps of the linear model."""
    return infidelity(maps, NUMBERS, noise, noise_response(linear, images, targets, NUMBERS, noise))


def true_maps(targets: torch.Tensor) -> np.ndarray:
    return WEIGHTS.sum(dim=1)[targets].numpy()


@pytest.mark.parametrize("scale", [1.0, -3.0, 100.0])
def test_the_weights_of_a_linear_model_are_faithful_at_any_scale(images, targets, scale):
    found = missed(scale * true_maps(targets), images, targets, Noise(0))
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_an_unrelated_map_misses_all_of_the_variance(images, targets):
    """The map is orthogonal to the weights: what is missed is the variance of the output, noise² ‖weights‖²."""
    maps = np.random.default_rng(0).normal(size=(5, SIDE, SIDE))
    true = true_maps(targets).astype(float)
    for row, weights in zip(maps, true, strict=True):
        row -= weights * (row * weights).sum() / (weights**2).sum()
    found = missed(maps, images, targets, Noise(0, samples=4000, scale=0.5))
    np.testing.assert_allclose(found, 0.25 * (true**2).sum(axis=(1, 2)), rtol=0.1)


def test_a_map_of_zeros_says_nothing_and_a_broken_one_has_no_answer(images, targets):
    maps = np.zeros((5, SIDE, SIDE))
    maps[0, 0, 0] = np.nan
    found = missed(maps, images, targets, Noise(0))
    assert np.isnan(found[0])
    assert (found[1:] > 0).all()


def test_seed_and_number_decide_whatever_the_batch(images, targets):
    first, other = (noise_response(linear, images, targets, NUMBERS, Noise(s)) for s in (0, 1))
    assert (first != other).all()
    some = [3, 1]
    again = noise_response(linear, images[some], targets[some], NUMBERS[some], Noise(0), 7)
    np.testing.assert_allclose(again, first[some], rtol=1e-5, atol=1e-6)
    samples = Noise(0).of(3, (SIDE, SIDE))
    assert samples.shape == (32, SIDE, SIDE)
    assert (samples != Noise(0).of(1, (SIDE, SIDE))).all()


def test_infidelity_is_captums(images, targets):
    """On a network that is not linear, with our noise."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Tanh(), nn.Linear(9, 2)).eval()
    maps = np.random.default_rng(0).normal(size=(5, SIDE, SIDE)).astype(np.float32)
    noise = Noise(0, samples=6)
    falls = noise_response(model, images, targets, NUMBERS, noise)

    def perturb(batch):
        drawn = np.concatenate([noise.of(number, (SIDE, SIDE)) for number in NUMBERS.tolist()])
        change = torch.from_numpy(drawn)[:, None].expand(-1, 3, -1, -1)
        return change, batch - change

    spread = torch.from_numpy(maps / 3)[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = captum_infidelity(
            model, perturb, images, spread, target=targets, n_perturb_samples=6, normalize=True
        )
    np.testing.assert_allclose(infidelity(maps, NUMBERS, noise, falls), expected, rtol=1e-4)


def gradient(model, images, targets):
    inputs = images.detach().requires_grad_()
    model(inputs).gather(1, targets[:, None]).sum().backward()
    return inputs.grad.sum(dim=1).numpy()


class Quadratic(nn.Module):
    """Half the sum of squares: its gradient is the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = (images**2).flatten(1).sum(dim=1, keepdim=True) / 2
        return torch.cat([half, half], dim=1)


class Plane(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return linear(images)


@pytest.mark.parametrize("batch_size", [2, 256])
def test_the_gradient_of_a_linear_model_never_moves(images, targets, batch_size):
    found = max_sensitivity(gradient, Plane(), images, targets, seed=0, batch_size=batch_size)
    np.testing.assert_allclose(found, 0, atol=1e-7)


def test_a_gradient_that_is_the_image_moves_as_far_as_the_image(images, targets):
    found = max_sensitivity(gradient, Quadratic(), images, targets, seed=0, radius=0.1, samples=50)
    norm = images.sum(dim=1).flatten(1).norm(dim=1).numpy()
    # three channels, each uniform in ±0.1: a pixel's change has variance 0.01, and the largest of 50 is above the mean
    assert (found > 0.1 * SIDE / norm).all()
    assert (found < 0.3 * SIDE / norm).all()


def test_a_map_that_jumps_is_caught(images, targets):
    def jumping(model, batch, target):
        known = torch.cdist(batch.flatten(1), images.flatten(1)).min(dim=1).values == 0
        return torch.where(known, 1.0, 3.0)[:, None, None].expand(-1, SIDE, SIDE).numpy()

    found = max_sensitivity(jumping, Plane(), images, targets, seed=0, samples=3)
    np.testing.assert_allclose(found, 2)


def test_a_broken_map_has_no_sensitivity(images, targets):
    found = max_sensitivity(
        lambda model, batch, target: np.full((len(batch), SIDE, SIDE), np.nan),
        Plane(), images, targets, seed=0,
    )  # fmt: skip
    assert np.isnan(found).all()
