"""Class activation maps: where in the image the features are that raise the target logit."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glasshead.explainers.attribution import Explanation
from glasshead.explainers.layers import (
    as_grid,
    cam_layer,
    explain_by_grid,
    recorded,
    transformer_layers,
    with_gradients,
)
from glasshead.explainers.passes import Budget, Images, Targets


def grad_cam(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return Grad-CAM (n, h, w), at least 0, at the classifier's `cam_layer`. Selvaraju et al. 2017.

    Each feature channel is weighted by its mean gradient; channels are summed, negative values set to 0, and the map is
    enlarged bilinearly. arXiv:1610.02391.

    Raises ExplanationError if the classifier has no convolutional feature map.
    """
    layer = cam_layer(classifier)

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b rows columns"]:
        with recorded([layer]) as seen:
            [(features, gradients)] = with_gradients(classifier, batch, target, seen)
        weights = gradients.mean(dim=(2, 3))
        return torch.einsum("bcrs,bc->brs", features, weights).relu()

    return explain_by_grid(compute, classifier, images, targets, budget)


def patch_grad_cam(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return Grad-CAM (n, h, w), at least 0, of a CLIP vision transformer's patch tokens.

    The features are the layer-normalised tokens that the last layer's attention reads: after this layer, patch tokens
    no longer affect the output. Patch tokens take the role of a convolutional map's positions; the class token is left
    out.

    Raises ExplanationError unless the classifier has a vision transformer with a class token.
    """
    norm = transformer_layers(classifier)[-1].layer_norm1

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b side side"]:
        with recorded([norm]) as seen:
            [(tokens, gradients)] = with_gradients(classifier, batch, target, seen)
        weights = gradients[:, 1:].mean(dim=1)
        return as_grid(torch.einsum("bpd,bd->bp", tokens[:, 1:], weights).relu())

    return explain_by_grid(compute, classifier, images, targets, budget)
