"""Deletion and insertion: how fast a class's probability changes as a map's highest pixels are removed or added.

Petsiuk et al. 2018, arXiv:1806.07421. Pixels with the same map value are taken in row-major order.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from glasshead.errors import ParameterError
from glasshead.explainers.maps import where_finite
from glasshead.explainers.passes import Images, Targets, in_passes

# images (b, 3, h, w) in [0, 1] to probabilities (b, k), such as a Classifier's
Probabilities = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]


def pixel_auc(
    probabilities: Probabilities,
    before: Images,
    after: Images,
    targets: Targets,
    maps: Float[np.ndarray, "n h w"],
    steps: int = 32,
    batch_size: int = 32,
) -> Float64[np.ndarray, " n"]:
    """Return (n,) areas under the curve of the target's probability while pixels of `before` become those of `after`.

    With the image as `before` and grey as `after`, this is the deletion AUC (lower is better); the other way round, the
    insertion AUC (higher is better).

    Args:
        steps: the number of steps, each of which replaces the same fraction of pixels; the area follows the trapezoidal
            rule.
        batch_size: images in one pass through the model.

    NaN where a map is not finite. Raises ParameterError for fewer than one step, or for more steps than pixels.
    """
    fractions, curves = pixel_curves(probabilities, before, after, targets, maps, steps, batch_size)
    return where_finite(maps, np.trapezoid(curves, fractions, axis=1))


def pixel_curves(
    probabilities: Probabilities,
    before: Images,
    after: Images,
    targets: Targets,
    maps: Float[np.ndarray, "n h w"],
    steps: int,
    batch_size: int,
) -> tuple[Float64[np.ndarray, " s"], Float64[np.ndarray, "n s"]]:
    """Return the fractions of pixels replaced, (steps + 1,) from 0 to 1, and the target's probability at each."""
    n, _, height, width = before.shape
    pixels = height * width
    if not 1 <= steps <= pixels:
        raise ParameterError(
            f"explain.evaluation.deletion_steps is {steps}; it must be between 1 and the {pixels} pixels of an image."
        )
    counts = np.round(np.linspace(0, pixels, steps + 1)).astype(int)
    order = np.argsort(-maps.reshape(n, pixels), axis=1, kind="stable")
    rank = torch.from_numpy(np.argsort(order, axis=1)).view(n, 1, height, width).to(before.device)
    image, count = (indices.ravel() for indices in np.meshgrid(np.arange(n), counts, indexing="ij"))

    @torch.no_grad()
    def chosen(row: Tensor, changed: Tensor) -> Tensor:
        mixed = torch.where(rank[row] < changed.view(-1, 1, 1, 1), after[row], before[row])
        return probabilities(mixed).double().gather(1, targets[row, None])[:, 0]

    pairs = (torch.from_numpy(indices).to(before.device) for indices in (image, count))
    target_probabilities = in_passes(chosen, batch_size, *pairs)
    return counts / pixels, target_probabilities.cpu().numpy().reshape(n, steps + 1)
