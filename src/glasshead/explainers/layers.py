"""Outputs of a classifier's layers during a forward pass, and gradients with respect to these outputs."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from glasshead.errors import ExplanationError, ParameterError
from glasshead.explainers.attribution import Explanation
from glasshead.explainers.passes import Budget, Images, Targets, frozen, in_passes


@contextmanager
def recorded(
    modules: Sequence[nn.Module], pick: Callable[[Any], Tensor] = lambda output: output
) -> Iterator[list[Tensor]]:
    """Yield a list to which each forward pass appends `pick(output)` for each of `modules`, in order of computation."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(pick(output)))
        for module in modules
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def with_gradients(
    classifier: nn.Module, images: Tensor, targets: Int[Tensor, " b"], seen: list[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Return each tensor that a forward pass adds to `seen`, with the gradient of the target logits by this tensor."""
    with torch.enable_grad():
        logits = classifier(images.detach().requires_grad_()).gather(1, targets[:, None])
        gradients = torch.autograd.grad(logits.sum(), seen)
    return [(value.detach(), gradient) for value, gradient in zip(seen, gradients, strict=True)]


def cam_layers(classifier: nn.Module) -> list[nn.Module]:
    """Return the layers that the classifier's `cam_layers` gives for class activation maps, the last one last.

    Raises ExplanationError if there is none.
    """
    find = getattr(classifier, "cam_layers", None)
    if find is None:
        raise ExplanationError(
            f"Class activation maps need convolutional layers, but a {type(classifier).__name__} has no `cam_layers`. "
            "Use another method, such as integrated_gradients."
        )
    try:
        layers: list[nn.Module] = find()
    except ParameterError as error:
        raise ExplanationError(str(error)) from error
    return layers


def transformer_layers(classifier: nn.Module) -> list[Any]:
    """Return the layers of a vision transformer with a class token; ExplanationError for other classifiers."""
    find = getattr(classifier, "transformer_layers", list)
    layers = list(find())
    if not layers:
        raise ExplanationError(
            "Maps of attention or patch tokens need a CLIP vision transformer with a class token, which this "
            f"{type(classifier).__name__} does not have. Use another method, such as integrated_gradients."
        )
    return layers


def explain_by_grid(
    compute: Callable[[Tensor, Tensor], Float[Tensor, "b rows columns"]],
    classifier: nn.Module,
    images: Images,
    targets: Targets,
    budget: Budget,
) -> Explanation:
    """Return the grids that `compute` makes of images and targets, pass by pass, enlarged bilinearly to the images."""
    with frozen(classifier):
        grid = in_passes(compute, budget.batch_size, images, targets, parallel=False)
    size = images.shape[2:]
    maps = F.interpolate(grid[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    return Explanation(maps.cpu().numpy())


def as_grid(patches: Float[Tensor, "n p"]) -> Float[Tensor, "n side side"]:
    """Return the values of patches, given row by row from the top left, as a square grid."""
    side = math.isqrt(patches.shape[1])
    return patches.view(-1, side, side)
