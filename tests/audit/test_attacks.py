"""Attacks on models whose worst case is known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from glasshead.audit.attacks import fgsm, margin_loss, pgd

EPSILON = 0.1
LABELS = torch.tensor([0, 1, 1, 0])


class Linear(nn.Module):
    """Two logits that are linear in the pixels, times `scale`."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(
            torch.randn(2, 3 * 4 * 4, generator=draw, dtype=torch.float64) * scale
        )

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T


class Bowl(nn.Module):
    """The label 0 is weakest where all pixels are at `bottom`; its logit rises with the squared distance from there."""

    def __init__(self, bottom: float) -> None:
        super().__init__()
        self.bottom = bottom

    def forward(self, images: Tensor) -> Tensor:
        distance = ((images.flatten(1) - self.bottom) ** 2).sum(dim=1)
        return torch.stack([distance, torch.zeros_like(distance)], dim=1)


@pytest.fixture
def images() -> Tensor:
    """Return images far enough from 0 and 1 that no attack by `EPSILON` is clipped."""
    draw = torch.Generator().manual_seed(1)
    return 0.3 + 0.4 * torch.rand(4, 3, 4, 4, generator=draw, dtype=torch.float64)


def ten_steps(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    return pgd(model, images, labels, epsilon, steps=10)


ATTACKS = pytest.mark.parametrize("attack", [fgsm, ten_steps])


def test_the_margin_loss_is_the_best_other_logit_less_the_labels():
    logits = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]])
    assert margin_loss(logits, torch.tensor([1, 2])).tolist() == [-3, 3]


@ATTACKS
def test_the_margin_of_a_linear_model_falls_by_epsilon_times_the_l1_norm(attack, images):
    model = Linear()
    before = margin_loss(model(images), LABELS)
    after = margin_loss(model(attack(model, images, LABELS, EPSILON)), LABELS)
    norm = (model.weight[1] - model.weight[0]).abs().sum()
    torch.testing.assert_close(after - before, (EPSILON * norm).expand(4))


@ATTACKS
def test_a_sure_model_is_attacked_as_any_other(attack, images):
    """Its cross-entropy has no gradient left in floating-point numbers."""
    sure = Linear(scale=1e6)
    assert (sure(images).softmax(dim=1).amax(dim=1) == 1).all()
    expected = attack(Linear(), images, LABELS, EPSILON)
    torch.testing.assert_close(attack(sure, images, LABELS, EPSILON), expected)


@ATTACKS
def test_pixels_stay_within_epsilon_and_within_the_range(attack, images):
    extreme = images.round()
    attacked = attack(Linear(), extreme, LABELS, EPSILON)
    assert attacked.min() == 0
    assert attacked.max() == 1
    assert (attacked - extreme).abs().max() <= EPSILON + 1e-12
    assert (attacked != extreme).any()


@ATTACKS
def test_epsilon_0_changes_nothing_and_the_images_given_are_left_alone(attack, images):
    kept = images.clone()
    assert torch.equal(attack(Linear(), images, LABELS, 0.0), kept)
    attack(Linear(), images, LABELS, EPSILON)
    assert torch.equal(images, kept)
    assert not images.requires_grad


def test_small_steps_find_a_weakness_that_one_step_jumps_over():
    """The weakest point lies 0.3 epsilon away: FGSM ends 0.7 beyond it, PGD by steps of 0.25 ends 0.2 beyond."""
    images = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    labels, model = torch.tensor([0]), Bowl(0.5 + 0.3 * EPSILON)

    def distance(attacked: Tensor) -> float:
        return float((attacked - model.bottom).abs().mean()) / EPSILON

    assert distance(fgsm(model, images, labels, EPSILON)) == pytest.approx(0.7)
    assert distance(ten_steps(model, images, labels, EPSILON)) == pytest.approx(0.2)


def test_pgd_is_no_weaker_than_fgsm_on_a_curved_network(images):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    ).double()
    labels = model(images).argmax(dim=1)
    for epsilon in (0.05, 0.1, 0.2):
        one, many = (
            margin_loss(model(attack(model, images, labels, epsilon)), labels).mean()
            for attack in (fgsm, ten_steps)
        )
        assert many >= one > margin_loss(model(images), labels).mean()
