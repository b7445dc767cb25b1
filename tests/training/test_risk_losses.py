"""The three losses against loops over pairs."""

import itertools
import math

import pytest
import torch

from glasshead.training.risk_losses import (
    RiskLossWeights,
    pairwise_ranking_loss,
    patch_contrast_loss,
    risk_losses,
)

LABELS = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0], [0, 1]])
LOGITS = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.5, 2.0], [0.1, 0.2], [-2.0, 0.7]])


def by_loops(scores: torch.Tensor, labels: torch.Tensor) -> float:
    means = []
    for score, label in zip(scores.T.tolist(), labels.T.tolist(), strict=True):
        rows = range(len(score))
        pairs = [(p, n) for p, n in itertools.product(rows, rows) if label[p] > label[n]]
        means.append(
            sum(math.log1p(math.exp(-(score[p] - score[n]))) for p, n in pairs) / len(pairs)
        )
    return sum(means) / len(means)


def test_ranking_is_the_mean_over_pairs_of_each_risk():
    assert pairwise_ranking_loss(LOGITS, LABELS).item() == pytest.approx(
        by_loops(LOGITS, LABELS), rel=1e-6
    )


def test_patch_compares_places_of_one_rank():
    top = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = sum(by_loops(top[:, :, k], LABELS) for k in range(3)) / 3
    assert patch_contrast_loss(top, LABELS).item() == pytest.approx(expected, rel=1e-6)


def test_a_risk_without_pairs_is_left_out():
    labels = LABELS.clone()
    labels[:, 1] = 1
    only = pairwise_ranking_loss(LOGITS[:, :1], LABELS[:, :1])
    torch.testing.assert_close(pairwise_ranking_loss(LOGITS, labels), only)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_batch_without_pairs_costs_nothing_but_cross_entropy(value):
    logits = LOGITS.clone().requires_grad_()
    losses = risk_losses(logits, logits[:, :, None], torch.full_like(LABELS, value))
    assert (losses.ranking.item(), losses.patch.item()) == (0, 0)
    losses.total(RiskLossWeights()).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


def test_weights_leave_losses_out():
    losses = risk_losses(LOGITS, LOGITS[:, :, None], LABELS)
    weights = RiskLossWeights(bce=0, ranking=2, patch=0)
    torch.testing.assert_close(losses.total(weights), 2 * losses.ranking)
