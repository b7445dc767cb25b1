"""The three losses of a risk head on image-level labels: cross-entropy, ranking of images, ranking of top places.

Each is a mean over risks. The latter two are 0 if a batch has no images with the risk, or none without it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, NonNegativeFloat
from torch import Tensor

Logits = Float[Tensor, "b r"]
Labels = Float[Tensor, "b r"]  # 1 with the risk, 0 without


class RiskLossWeights(BaseModel, extra="forbid", frozen=True):
    """The weight of each loss in the sum that is minimised; 0 leaves it out."""

    bce: NonNegativeFloat = 1.0
    ranking: NonNegativeFloat = 1.0
    patch: NonNegativeFloat = 1.0


class RiskLosses(NamedTuple):
    """The losses of a batch, before weights."""

    bce: Float[Tensor, ""]
    ranking: Float[Tensor, ""]
    patch: Float[Tensor, ""]

    def total(self, weights: RiskLossWeights) -> Float[Tensor, ""]:
        """Return their weighted sum."""
        return weights.bce * self.bce + weights.ranking * self.ranking + weights.patch * self.patch


def risk_losses(logits: Logits, top: Float[Tensor, "b r k"], labels: Labels) -> RiskLosses:
    """Return the three losses; `top` holds the highest values of each map in falling order."""
    return RiskLosses(
        bce=F.binary_cross_entropy_with_logits(logits, labels),
        ranking=pairwise_ranking_loss(logits, labels),
        patch=patch_contrast_loss(top, labels),
    )


def pairwise_ranking_loss(scores: Logits, labels: Labels) -> Float[Tensor, ""]:
    """Return the mean of log(1 + exp(-(s_pos - s_neg))) over all pairs of images with and without a risk.

    Burges et al. 2005, RankNet.
    """
    return patch_contrast_loss(scores[:, :, None], labels)


def patch_contrast_loss(top: Float[Tensor, "b r k"], labels: Labels) -> Float[Tensor, ""]:
    """Return the mean of log(1 + exp(-(t_pos - t_neg))) over pairs of images and over their top places.

    The highest place of one image is compared with the highest of the other, the second with the second, and so on, so
    that places with the risk rank above the most similar places in images without it.
    """
    means = []
    for values, label in zip(top.unbind(1), labels.unbind(1), strict=True):
        positive, negative = values[label > 0.5], values[label <= 0.5]
        if len(positive) and len(negative):
            means.append(F.softplus(negative[None] - positive[:, None]).mean())
    return torch.stack(means).mean() if means else top.sum() * 0
