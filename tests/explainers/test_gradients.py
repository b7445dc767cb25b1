"""Gradients, their means and their integrals: against closed forms, and against captum."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import Tensor, nn

from glasshead.explainers.attribution import Attribution, Explanation
from glasshead.explainers.gradients import (
    gradient_shap,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from glasshead.explainers.passes import Budget


class Linear(nn.Module):
    """A linear model of the pixels that counts the rows of each pass."""

    def __init__(self, classes: int = 3, size: int = 4) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(classes, 3 * size * size, generator=draw))
        self.rows: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        return images.flatten(1) @ self.weight.T


class Cubic(nn.Module):
    """Logits sum(x^3) and sum(x^2): their Integrated Gradients from black are x^3 and x^2 themselves."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.stack([(flat**3).sum(dim=1), (flat**2).sum(dim=1)], dim=1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([0, 1, 2, 1, 0])


class TestSaliency:
    def test_of_a_linear_model_is_its_weights(self, images, targets):
        model = Linear()
        weight = model.weight[targets].detach().view_as(images)
        found = saliency(model, images, targets, Budget())
        np.testing.assert_allclose(found.values, weight, rtol=1e-6)
        np.testing.assert_allclose(found.maps, weight.abs().amax(dim=1), rtol=1e-6)

    def test_agrees_with_captum(self, heads, scenes):
        targets = torch.tensor([0, 2, 1])
        expected = Saliency(heads).attribute(scenes.clone().requires_grad_(), targets, abs=False)
        found = saliency(heads, scenes, targets, Budget(batch_size=2))
        np.testing.assert_allclose(found.values, expected, atol=1e-6, rtol=1e-4)


class TestSmoothGrad:
    def test_of_a_linear_model_is_its_weights(self, images, targets):
        model = Linear()
        found = smoothgrad(model, images, targets, Budget(samples=3, noise=0.5))
        weight = model.weight[targets].detach().view_as(images)
        np.testing.assert_allclose(found.values, weight, rtol=1e-5)

    def test_of_cubes_adds_the_variance_of_the_noise(self, images):
        # E 3 (x + e)^2 = 3 x^2 + 3 s^2, and the mean of all pixels has little error left
        noise, samples = 0.3, 400
        zeros = torch.zeros(5, dtype=torch.long)
        found = smoothgrad(Cubic(), images, zeros, Budget(samples=samples, noise=noise))
        error = found.values - (3 * images**2).numpy()
        assert abs(error.mean() - 3 * noise**2) < 5 * 6 * noise / np.sqrt(samples * images.numel())

    def test_without_noise_is_the_gradient(self, heads, scenes):
        targets = torch.tensor([0, 2, 1])
        found = smoothgrad(heads, scenes, targets, Budget(samples=2, noise=0.0))
        expected = saliency(heads, scenes, targets, Budget())
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6, rtol=1e-4)

    def test_draws_from_the_seed_whatever_the_passes(self, images):
        zeros = torch.zeros(5, dtype=torch.long)

        def values(**changes: int) -> np.ndarray:
            return smoothgrad(Cubic(), images, zeros, Budget(samples=4, **changes)).values

        np.testing.assert_allclose(values(batch_size=1), values(), rtol=1e-5)
        assert not np.allclose(values(seed=1), values())


class TestIntegratedGradients:
    @pytest.mark.parametrize("baseline", [0.0, 0.5, 1.0])
    def test_of_a_linear_model_is_weight_times_input(self, images, targets, baseline):
        model = Linear()
        budget = Budget(baseline=baseline, steps=2)
        explained = integrated_gradients(model, images, targets, budget)
        weight = model.weight[targets].detach().view_as(images)
        np.testing.assert_allclose(explained.values, weight * (images - baseline), atol=1e-6)
        np.testing.assert_allclose(explained.gap, 0, atol=1e-5)

    def test_of_powers_are_the_powers(self, images):
        targets = torch.tensor([0, 1, 0, 1, 0])
        explained = integrated_gradients(Cubic(), images, targets, Budget(steps=8))
        power = torch.where(targets[:, None, None, None] == 0, images**3, images**2)
        np.testing.assert_allclose(explained.values, power, atol=1e-5)
        np.testing.assert_allclose(explained.output, power.sum(dim=(1, 2, 3)), rtol=1e-5)
        np.testing.assert_array_equal(explained.base, np.zeros(5))

    def test_agree_with_captum(self, heads, scenes):
        targets, budget = torch.tensor([0, 2, 1]), Budget(steps=6, baseline=0.5, batch_size=4)
        method = IntegratedGradients(heads)
        expected = method.attribute(scenes, 0.5, targets, n_steps=6, method="gausslegendre")
        found = integrated_gradients(heads, scenes, targets, budget)
        np.testing.assert_allclose(found.values, expected.detach(), atol=1e-6, rtol=1e-3)

    def test_too_few_steps_leave_a_gap_that_is_reported(self, images):
        zeros = torch.zeros(5, dtype=torch.long)
        few = integrated_gradients(Cubic(), images, zeros, Budget(steps=1))
        assert (
            few.gap > 0.1 * np.abs(few.output - few.base)
        ).all()  # the midpoint rule gives 3/4 of the integral of x^2


class TestGradientShap:
    def test_of_a_linear_model_is_weight_times_the_way_from_the_mean_background(
        self, images, targets
    ):
        model, samples = Linear(), 900
        explained = gradient_shap(model, images, targets, Budget(samples=samples))
        weight = model.weight[targets].detach().view_as(images).numpy()
        background = images.numpy() - explained.values / weight
        assert np.ptp(background.reshape(5, -1), axis=1).max() < 1e-3
        error = 5 * np.std([0, 0.5, 1]) / np.sqrt(samples)
        np.testing.assert_allclose(background, 0.5, atol=error)
        np.testing.assert_allclose(explained.base, weight.sum(axis=(1, 2, 3)) / 2, rtol=1e-5)

    def test_more_samples_close_the_gap(self, images):
        zeros = torch.zeros(5, dtype=torch.long)
        few, many = (
            gradient_shap(Cubic(), images, zeros, Budget(samples=samples)).gap.mean()
            for samples in (4, 1600)
        )
        assert many < few / 4  # 20 times less is expected


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_no_pass_is_larger_than_the_budget(images, targets, batch_size):
    model = Linear()
    budget = Budget(steps=4, batch_size=batch_size)
    explained = integrated_gradients(model, images, targets, budget)
    assert max(model.rows) <= batch_size
    expected = model.weight[targets].detach().view_as(images) * images
    np.testing.assert_allclose(explained.values, expected, atol=1e-6)


def test_the_gap_is_what_the_contributions_leave_over():
    explained = Attribution(
        values=np.array([[[1.0, 2.0]], [[-1.0, 1.0]]]),
        base=np.array([0.5, 1.0]),
        output=np.array([4.0, 1.0]),
    )
    np.testing.assert_allclose(explained.gap, [0.5, 0.0])


def test_maps_of_contributions_are_summed_over_channels():
    values = np.array([1.0, -3.0, 0.5]).reshape(1, 3, 1, 1)
    assert Attribution(values, np.zeros(1), np.zeros(1)).maps.item() == -1.5
    assert Explanation(values).maps.item() == 3.0
