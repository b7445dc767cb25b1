"""Occlusion and LIME of models whose answer to hidden squares is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glasshead.errors import ExplanationError
from glasshead.explainers.passes import Budget
from glasshead.explainers.perturbation import lime, occlusion, square_regions


class Linear(nn.Module):
    """Two linear logits of images of 8 × 8."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.rows: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        return torch.einsum("nchw,kchw->nk", images, self.weight)


class Masked(nn.Module):
    """A curved logit of the pixels in rows and columns 2 to 5 alone."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, 2:6, 2:6].mean(dim=(1, 2, 3))[:, None] ** 2


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def contribution_of_squares(model: Linear, images: Tensor, targets: Tensor, baseline: float):
    parts = ((images - baseline) * model.weight[targets]).sum(dim=1)  # (n, 8, 8)
    sums = parts.view(3, 2, 4, 2, 4).sum(dim=(2, 4))
    return sums.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_occlusion_of_a_linear_model_is_the_contribution_of_each_square(images, baseline):
    model, targets = Linear(), torch.tensor([0, 1, 1])
    budget = Budget(patch=4, stride=4, baseline=baseline, batch_size=2)
    found = occlusion(model, images, targets, budget)
    expected = contribution_of_squares(model, images, targets, baseline)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert max(model.rows) <= 2


def test_overlapping_squares_are_averaged(images):
    # patch 3, stride 1: squares start at 0 to 5, and a pixel has the mean of all that cover it
    model, target = Linear(), torch.zeros(3, dtype=torch.long)
    contribution = (images * model.weight[0]).sum(dim=1).numpy()
    total, covered = np.zeros((3, 8, 8)), np.zeros((8, 8))
    for row in range(6):
        for column in range(6):
            square = np.s_[..., row : row + 3, column : column + 3]
            total[square] += contribution[square].sum(axis=(1, 2))[:, None, None]
            covered[square] += 1
    found = occlusion(model, images, target, Budget(patch=3, stride=1))
    np.testing.assert_allclose(found.values, total / covered, atol=1e-4)


def test_occlusion_finds_a_known_mask(images):
    zeros = torch.zeros(3, dtype=torch.long)
    found = occlusion(Masked(), images, zeros, Budget(patch=2, stride=2)).values
    outside = np.ones((8, 8), dtype=bool)
    outside[2:6, 2:6] = False
    assert (found[:, outside] == 0).all()
    assert (found[:, ~outside] > 0).all()


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_lime_of_a_linear_model_is_the_contribution_of_each_square(images, baseline):
    model, targets = Linear(), torch.tensor([0, 1, 1])
    budget = Budget(patch=4, baseline=baseline, lime_samples=60, batch_size=16)
    found = lime(model, images, targets, budget)
    expected = contribution_of_squares(model, images, targets, baseline)
    np.testing.assert_allclose(found.values, expected, atol=1e-3)
    assert max(model.rows) <= 16


def test_lime_draws_from_the_seed_and_leaves_the_generator_alone(images):
    zeros = torch.zeros(3, dtype=torch.long)

    def values(seed: int) -> np.ndarray:
        return lime(Masked(), images, zeros, Budget(patch=2, lime_samples=30, seed=seed)).values

    state = torch.get_rng_state()
    assert np.array_equal(values(0), values(0))
    assert not np.array_equal(values(0), values(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_regions_are_squares_in_reading_order():
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert square_regions(torch.zeros(1, 3, 3, 5), 2).tolist() == expected


def test_squares_must_fit_and_cover(images):
    zeros = torch.zeros(3, dtype=torch.long)
    for method in (occlusion, lime):
        with pytest.raises(ExplanationError, match="larger than images of 8 × 8"):
            method(Linear(), images, zeros, Budget(patch=9))
    with pytest.raises(ExplanationError, match="uncovered"):
        occlusion(Linear(), images, zeros, Budget(patch=2, stride=3))
