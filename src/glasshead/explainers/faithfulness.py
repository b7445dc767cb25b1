"""Infidelity and sensitivity of maps under small changes of the image.

Yeh et al. 2019, arXiv:1901.09392.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor, nn

from glasshead.explainers.maps import Explainer, divide, where_finite
from glasshead.explainers.passes import Images, Model, Targets, target_logits
from glasshead.seeds import generator, stream_seed, torch_seeded


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that is generated anew from an image's number whenever needed, so that none is stored.

    scale: standard deviation, for pixels in [0, 1]. samples: noisy copies of each image.
    """

    seed: int
    samples: int = 32
    scale: float = 0.1

    def of(self, number: int, size: Sequence[int]) -> Float32[np.ndarray, "s h w"]:
        """Return the noise for image `number`, which has `size` (h, w); all channels get the same noise."""
        draw = generator(self.seed, "explain", "infidelity", number)
        return self.scale * draw.standard_normal((self.samples, *size), np.float32)


def noise_response(
    model: Model,
    images: Images,
    targets: Targets,
    numbers: Int[np.ndarray, " n"],
    noise: Noise,
    batch_size: int = 32,
) -> Float64[np.ndarray, "n s"]:
    """Return (n, s): how much each image's target logit falls when each sample of its noise is subtracted.

    The result does not depend on the explanation method, so all methods are measured with it.
    """
    before = target_logits(model, images, targets, batch_size)
    falls = []
    for row, number in enumerate(numbers.tolist()):
        changes = torch.from_numpy(noise.of(number, images.shape[2:])).to(images)
        target = targets[row].expand(len(changes))
        after = target_logits(model, images[row] - changes[:, None], target, batch_size)
        falls.append(before[row] - after)
    return torch.stack(falls).cpu().numpy()


def infidelity(
    maps: Float[np.ndarray, "n h w"],
    numbers: Int[np.ndarray, " n"],
    noise: Noise,
    falls: Float[np.ndarray, "n s"],
) -> Float64[np.ndarray, " n"]:
    """Return (n,) E[(noise · map - fall of the target logit)²], at least 0; lower is better. See `noise_response`.

    Each map is multiplied by the factor that minimises this error, so that methods with different units can be
    compared. NaN if a map is not finite.
    """
    finite = np.nan_to_num(maps, posinf=0, neginf=0).astype(float)
    said = np.stack(
        [
            np.tensordot(noise.of(number, values.shape), values, axes=2)
            for number, values in zip(numbers.tolist(), finite, strict=True)
        ]
    )
    scale = np.nan_to_num(divide((said * falls).sum(axis=1), (said**2).sum(axis=1)))
    return where_finite(maps, ((scale[:, None] * said - falls) ** 2).mean(axis=1))


def max_sensitivity(
    explainer: Explainer,
    model: nn.Module,
    images: Images,
    targets: Targets,
    seed: int,
    radius: float = 0.02,
    samples: int = 10,
    batch_size: int = 256,
) -> Float64[np.ndarray, " n"]:
    """Return (n,) the largest ‖change of the map‖ / ‖map‖ when the image changes a little; lower is better.

    A map of zeros is divided by 1 instead of its norm. NaN where a map is not finite.

    Args:
        radius: the largest change of a pixel value in [0, 1], sampled uniformly.
        samples: changed copies of each image; they depend on `seed` and `batch_size`.
    """
    from captum.metrics import sensitivity_max

    changes = []
    with torch_seeded(stream_seed(seed, "max_sensitivity")):
        for batch, target in zip(images.split(batch_size), targets.split(batch_size), strict=True):
            change = sensitivity_max(
                partial(_explain_repeated, explainer, model, target), batch,
                perturb_radius=radius, n_perturb_samples=samples,
                max_examples_per_batch=min(batch_size, samples * len(batch)),
            )  # fmt: skip
            changes.append(change.double().cpu().numpy())
    values = np.concatenate(changes)
    return np.where(np.isfinite(values), values, np.nan)


def _explain_repeated(
    explainer: Explainer, model: nn.Module, targets: Targets, inputs: Tensor | tuple[Tensor, ...]
) -> tuple[Tensor]:
    """Return maps as captum wants them; `inputs` are the images, or copies in which each image is repeated."""
    images = inputs if isinstance(inputs, Tensor) else inputs[0]
    repeated = targets.repeat_interleave(len(images) // len(targets))
    with torch.enable_grad():  # captum turns gradients off around this call
        return (torch.from_numpy(explainer(model, images, repeated)),)
