"""Class activation maps: where in the image the features are that raise the target logit."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from glasshead.explainers.attribution import Explanation
from glasshead.explainers.layers import (
    as_grid,
    cam_layers,
    explain_by_grid,
    recorded,
    transformer_layers,
    with_gradients,
)
from glasshead.explainers.passes import Budget, Images, Targets

FUSED_STAGES = 3  # from about an eighth of the image's side to a 32nd


def grad_cam(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return Grad-CAM (n, h, w), at least 0, at the last of the classifier's `cam_layers`. Selvaraju et al. 2017.

    Each feature channel is weighted by its mean gradient; channels are summed, negative values set to 0, and the map is
    enlarged bilinearly. arXiv:1610.02391.

    Raises ExplanationError if the classifier has no convolutional feature map.
    """
    layer = cam_layers(classifier)[-1]

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b rows columns"]:
        with recorded([layer]) as seen:
            [(features, gradients)] = with_gradients(classifier, batch, target, seen)
        weights = gradients.mean(dim=(2, 3))
        return torch.einsum("bcrs,bc->brs", features, weights).relu()

    return explain_by_grid(compute, classifier, images, targets, budget)


def layer_cam(
    classifier: nn.Module, images: Images, targets: Targets, budget: Budget
) -> Explanation:
    """Return LayerCAM (n, h, w), from 0 to 1, of the last stages of the classifier's `cam_layers`. Jiang et al. 2021.

    At every place, each feature counts with its own gradient where that is positive. The map of each stage is divided
    by its maximum; those before the last stage go through tanh(2 x), which lifts their low values. The largest value
    at each place is kept, at the resolution of the first of these stages. doi:10.1109/TIP.2021.3089943.

    Raises ExplanationError if the classifier has no convolutional feature map.
    """
    layers = cam_layers(classifier)[-FUSED_STAGES:]

    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b rows columns"]:
        with recorded(layers) as seen:
            stages = with_gradients(classifier, batch, target, seen)
        maps = [_relative((value * grad.relu()).sum(dim=1).relu()) for value, grad in stages]
        maps[:-1] = [torch.tanh(2 * grid) for grid in maps[:-1]]
        sides = maps[0].shape[1:]
        enlarged = [
            F.interpolate(grid[:, None], sides, mode="bilinear", align_corners=False)
            for grid in maps
        ]
        return torch.cat(enlarged, dim=1).amax(dim=1)

    return explain_by_grid(compute, classifier, images, targets, budget)


def _relative(maps: Float[Tensor, "b rows columns"]) -> Float[Tensor, "b rows columns"]:
    """Return maps divided by their maxima; a map of zeros stays as it is."""
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


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
