"""Does a map say what a small change of the image does to the output, and does it stay the same under one?

Yeh et al. 2019, arXiv:1901.09392, as captum measures them.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from glasshead.explainers.maps import Explainer, where_finite
from glasshead.seeds import stream_seed, torch_seeded

Model = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]


def infidelity(
    model: Model,
    images: Float[Tensor, "n 3 h w"],
    targets: Int[Tensor, " n"],
    maps: Float[np.ndarray, "n h w"],
    seed: int,
    noise: float = 0.1,
    samples: int = 32,
    batch_size: int = 256,
) -> Float64[np.ndarray, " n"]:
    """Return (n,) E(noise · map - fall of the target logit when the noise is taken away)², at least 0; lower is better.

    Each pixel's noise is the same in all channels, as a map has but one value for it. The map is scaled by the factor
    that suits it best, so that methods of different units compare. NaN where a map is not finite.

    Args:
        noise: standard deviation of the normal noise, of a pixel's range of 1.
        samples: of the noise, for each image, under `seed` (and `batch_size`, images in one pass).
    """
    from captum.metrics import infidelity as captum_infidelity

    def perturb(batch: Tensor) -> tuple[Tensor, Tensor]:
        change = noise * torch.randn_like(batch[:, :1]).expand_as(batch)
        return change, batch - change

    spread = torch.from_numpy(np.nan_to_num(maps, posinf=0, neginf=0)).to(images)
    spread = (spread / images.shape[1])[:, None].expand_as(images)
    found = []
    with torch_seeded(stream_seed(seed, "infidelity")):
        for batch, target, attributions in zip(
            *(part.split(batch_size) for part in (images, targets, spread)), strict=True
        ):
            error = captum_infidelity(
                model, perturb, batch, attributions, target=target, n_perturb_samples=samples,
                max_examples_per_batch=min(batch_size, samples * len(batch)), normalize=True,
            )  # fmt: skip
            found.append(error.double().clamp(min=0).cpu().numpy())  # rounding can go below
    return where_finite(maps, np.concatenate(found))


def max_sensitivity(
    explainer: Explainer,
    model: nn.Module,
    images: Float[Tensor, "n 3 h w"],
    targets: Int[Tensor, " n"],
    seed: int,
    radius: float = 0.02,
    samples: int = 10,
    batch_size: int = 256,
) -> Float64[np.ndarray, " n"]:
    """Return (n,) the largest ‖change of the map‖ / ‖map‖ when the image changes a little; lower is better.

    A map of zeros counts as of norm 1. NaN where a map is not finite.

    Args:
        radius: each value changes by up to this, uniformly, of a range of 1.
        samples: changed images for each image, under `seed` (and `batch_size`, images explained at once).
    """
    from captum.metrics import sensitivity_max

    found = []
    with torch_seeded(stream_seed(seed, "max_sensitivity")):
        for batch, target in zip(images.split(batch_size), targets.split(batch_size), strict=True):
            change = sensitivity_max(
                partial(_explain_repeated, explainer, model, target), batch,
                perturb_radius=radius, n_perturb_samples=samples,
                max_examples_per_batch=min(batch_size, samples * len(batch)),
            )  # fmt: skip
            found.append(change.double().numpy())
    values = np.concatenate(found)
    return np.where(np.isfinite(values), values, np.nan)


def _explain_repeated(
    explainer: Explainer,
    model: nn.Module,
    targets: Int[Tensor, " n"],
    inputs: Tensor | tuple[Tensor, ...],
) -> tuple[Tensor]:
    """Return maps as captum wants them; `inputs` are the images, or each of them repeated."""
    images = inputs if isinstance(inputs, Tensor) else inputs[0]
    repeated = targets.repeat_interleave(len(images) // len(targets))
    with torch.enable_grad():  # captum turns gradients off
        return (torch.from_numpy(explainer(model, images, repeated)),)
