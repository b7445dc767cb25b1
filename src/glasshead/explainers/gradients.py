"""Attributions from gradients: from the pixels through the whole of a classifier."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from glasshead.explainers.attribution import Attribution

# images (b, 3, h, w) in [0, 1] to raw logits (b, k)
Model = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]


def integrated_gradients(
    model: Model,
    images: Float[Tensor, "n 3 h w"],
    targets: Int[Tensor, " n"],
    baseline: float = 0.0,
    steps: int = 64,
    internal_batch_size: int = 128,
) -> Attribution:
    """Return the Integrated Gradients (n, 3, h, w) of the target logits. Sundararajan et al. 2017, arXiv:1703.01365.

    Args:
        model: in evaluation mode, so that the images of a batch do not affect each other.
        images: (n, 3, h, w) in [0, 1]; `targets` (n,) says which logit of each is explained.
        baseline: grey level in [0, 1] of the image that stands for "nothing": 0 black, 1 white.
        steps: points of the Gauss-Legendre rule on the straight path from the baseline; more close the gap.
        internal_batch_size: images in one pass through the model, whatever n and steps are.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    values, outputs = [], []
    # captum puts at least one step of all its inputs into a pass: give it no more inputs than a pass may hold
    for batch, target in zip(
        torch.split(images, internal_batch_size),
        torch.split(targets, internal_batch_size),
        strict=True,
    ):
        part = method.attribute(
            batch, baseline, target, n_steps=steps, internal_batch_size=internal_batch_size
        )
        values.append(part.detach())
        outputs.append(_logits(model, batch).gather(1, target[:, None])[:, 0])
    base = _logits(model, torch.full_like(images[:1], baseline))[0, targets]
    return Attribution(
        torch.cat(values).cpu().numpy(), base.cpu().numpy(), torch.cat(outputs).cpu().numpy()
    )


@torch.no_grad()
def _logits(model: Model, images: Float[Tensor, "b 3 h w"]) -> Float64[Tensor, "b k"]:
    return model(images).double()
