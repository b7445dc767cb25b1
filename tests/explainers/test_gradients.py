"""Integrated Gradients against closed forms."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.explainers.attribution import Attribution
from glasshead.explainers.gradients import integrated_gradients


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


@pytest.mark.parametrize("baseline", [0.0, 0.5, 1.0])
def test_integrated_gradients_of_a_linear_model_is_weight_times_input(images, baseline):
    model, targets = Linear(), torch.tensor([0, 1, 2, 1, 0])
    explained = integrated_gradients(model, images, targets, baseline, steps=2)
    weight = model.weight[targets].detach().view_as(images)
    np.testing.assert_allclose(explained.values, weight * (images - baseline), atol=1e-6)
    np.testing.assert_allclose(explained.gap, 0, atol=1e-5)


def test_integrated_gradients_of_powers_are_the_powers(images):
    targets = torch.tensor([0, 1, 0, 1, 0])
    explained = integrated_gradients(Cubic(), images, targets, steps=8)
    power = torch.where(targets[:, None, None, None] == 0, images**3, images**2)
    np.testing.assert_allclose(explained.values, power, atol=1e-5)
    np.testing.assert_allclose(explained.output, power.sum(dim=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(explained.base, np.zeros(5))


def test_too_few_steps_leave_a_gap_that_is_reported(images):
    few = integrated_gradients(Cubic(), images, torch.zeros(5, dtype=torch.long), steps=1)
    assert (few.relative_gap > 0.1).all()  # the midpoint rule gives 3/4 of the integral of x^2


@pytest.mark.parametrize("internal_batch_size", [1, 3, 64])
def test_no_pass_is_larger_than_the_internal_batch_size(images, internal_batch_size):
    model, targets = Linear(), torch.tensor([0, 1, 2, 1, 0])
    explained = integrated_gradients(
        model, images, targets, steps=4, internal_batch_size=internal_batch_size
    )
    assert max(model.rows) <= internal_batch_size
    expected = model.weight[targets].detach().view_as(images) * images
    np.testing.assert_allclose(explained.values, expected, atol=1e-6)


def test_the_gap_is_what_the_contributions_leave_over():
    explained = Attribution(
        values=np.array([[[1.0, 2.0]], [[-1.0, 1.0]]]),
        base=np.array([0.5, 1.0]),
        output=np.array([4.0, 1.0]),
    )
    np.testing.assert_allclose(explained.gap, [0.5, 0.0])
    np.testing.assert_allclose(explained.relative_gap, [0.5 / 3.5, np.nan])
