"""Maps from the attention of CLIP's vision transformer, traced from the patches to the class token."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glasshead.explainers.attribution import Explanation
from glasshead.explainers.layers import (
    as_grid,
    explain_by_grid,
    recorded,
    transformer_layers,
    with_gradients,
)
from glasshead.explainers.passes import Budget, Images, Targets


def attention_rollout(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return attention rollout (n, h, w), at least 0: how much each patch contributes to the class token.

    Rollout is the product over layers of the attention matrices, averaged over heads, with the identity added for the
    residual connection. It does not depend on the target. Abnar & Zuidema 2020, arXiv:2005.00928.

    Raises ExplanationError unless the classifier has a vision transformer with a class token.
    """

    @torch.no_grad()
    def relevance(batch: Tensor, _: Tensor, seen: list[Tensor]) -> Tensor:
        classifier(batch)
        identity = torch.eye(seen[0].shape[-1], device=batch.device)
        mixed = [(attention.mean(dim=1) + identity) / 2 for attention in seen]
        return reduce(lambda joint, layer: layer @ joint, mixed)

    return _follow(relevance, classifier, images, targets, budget)


def gradient_weighted_attention(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return relevance (n, h, w), at least 0, of patches for the target logit. Chefer et al. 2021, arXiv:2103.15679.

    Relevance starts as the identity matrix. Each layer multiplies its attention by the gradient with respect to it,
    sets negative values to 0, averages over heads, and adds the product with the relevance so far.

    Raises ExplanationError unless the classifier has a vision transformer with a class token.
    """

    def relevance(batch: Tensor, target: Tensor, seen: list[Tensor]) -> Tensor:
        pairs = with_gradients(classifier, batch, target, seen)
        joint = torch.eye(pairs[0][0].shape[-1], device=batch.device).repeat(len(batch), 1, 1)
        for attention, gradient in pairs:
            joint = joint + (attention * gradient).relu().mean(dim=1) @ joint
        return joint

    return _follow(relevance, classifier, images, targets, budget)


@contextmanager
def attention_weights(layers: Sequence[Any]) -> Iterator[list[Tensor]]:
    """Yield a list that each forward pass fills with the attention weights (b, heads, t, t) of `layers`.

    Inside this context, attention is computed without fused kernels, which do not return the weights; logits differ
    only by rounding.
    """
    attentions = [layer.self_attn for layer in layers]
    for attention in attentions:
        attention.shows_weights = True
    try:
        with recorded(attentions, lambda output: output[1]) as seen:
            yield seen
    finally:
        for attention in attentions:
            attention.shows_weights = False


def _follow(
    relevance: Callable[[Tensor, Tensor, list[Tensor]], Tensor],
    classifier: nn.Module,
    images: Tensor,
    targets: Tensor,
    budget: Budget,
) -> Explanation:
    """Return maps of the patches' relevance for the class token; `relevance` is for all token pairs, (b, t, t)."""
    layers = transformer_layers(classifier)

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b side side"]:
        with attention_weights(layers) as seen:
            return as_grid(relevance(batch, target, seen)[:, 0, 1:])

    return explain_by_grid(compute, classifier, images, targets, budget)
