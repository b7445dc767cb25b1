"""Explanations by hiding parts of an image, without gradients, computed by captum."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from glasshead.errors import ExplanationError
from glasshead.explainers.attribution import Explanation
from glasshead.explainers.passes import Budget, Images, Model, Targets, in_passes, without_gradients
from glasshead.seeds import stream_seed, torch_seeded

RIDGE = 1e-3  # L2 penalty of LIME's linear model; too small to shrink its weights noticeably


def occlusion(classifier: Model, images: Images, targets: Targets, budget: Budget) -> Explanation:
    """Return how much the target logit falls when a pixel is hidden, (n, h, w). Zeiler & Fergus 2013, arXiv:1311.2901.

    A square patch of side `patch`, filled with the `baseline` grey, moves by `stride` pixels; a pixel gets the mean
    fall over all positions that cover it.

    Raises ExplanationError if the patch is larger than the images, or if the stride leaves pixels uncovered.
    """
    from captum.attr import Occlusion

    patch, stride = _patch_and_stride(images.shape[2:], budget)
    method = Occlusion(without_gradients(classifier))

    @torch.no_grad()
    def compute(batch: Tensor, target: Tensor) -> Float[Tensor, "b h w"]:
        values: Tensor = method.attribute(
            batch, (3, patch, patch), (3, stride, stride), budget.baseline, target
        )
        return values[:, 0]

    drops = in_passes(compute, budget.batch_size, images, targets)
    return Explanation(drops.float().cpu().numpy())


def occlusion_positions(budget: Budget, side: int) -> int:
    """Return the number of places of the patch on a square image, with a pass for each."""
    patch, stride = _patch_and_stride((side, side), budget)
    return (1 + math.ceil((side - patch) / stride)) ** 2


def lime(classifier: Model, images: Images, targets: Targets, budget: Budget) -> Explanation:
    """Return the weight (n, h, w) of each patch in a linear model of the target logit. Ribeiro et al. 2016.

    In each of `lime_samples` samples, every patch is either shown or filled with the `baseline` grey, with probability
    1/2; all images share these choices. Samples are weighted by their similarity to the image. arXiv:1602.04938.

    Raises ExplanationError if the patch is larger than the images.
    """
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    regions = square_regions(images, _patch(images.shape[2:], budget))
    squares = regions.cpu()
    method = Lime(without_gradients(classifier), interpretable_model=SkLearnRidge(alpha=RIDGE))
    maps = []
    for image, target in zip(images.split(1), targets.split(1), strict=True):
        with torch.no_grad(), torch_seeded(stream_seed(budget.seed, "explain", "lime")):
            weights = method.attribute(
                image,
                budget.baseline,
                target,
                feature_mask=regions[None, None],
                n_samples=budget.lime_samples,
                perturbations_per_eval=budget.batch_size,
                return_input_shape=False,
            )
            maps.append(weights[0].cpu()[squares])
    return Explanation(torch.stack(maps).float().numpy())


def square_regions(images: Images, patch: int) -> Int[Tensor, "h w"]:
    """Return the number of the patch that holds each pixel, counted row by row; the last patches may be cut off."""
    h, w = images.shape[2:]
    rows, columns = (torch.arange(side, device=images.device) // patch for side in (h, w))
    return rows[:, None] * (int(columns[-1]) + 1) + columns


def _patch_and_stride(shape: Sequence[int], budget: Budget) -> tuple[int, int]:
    patch = _patch(shape, budget)
    stride = budget.stride or max(1, patch // 2)
    if stride > patch:
        raise ExplanationError(
            f"Occlusion with patches of {patch} pixels every {stride} pixels leaves pixels uncovered. Set "
            f"explain.budget.stride to {patch} or less."
        )
    return patch, stride


def _patch(shape: Sequence[int], budget: Budget) -> int:
    h, w = shape
    patch = budget.patch or max(1, min(h, w) // 4)
    if patch > min(h, w):
        raise ExplanationError(
            f"Patches of {patch} pixels are larger than images of {h} × {w}. Set explain.budget.patch to "
            f"{min(h, w)} or less."
        )
    return patch
