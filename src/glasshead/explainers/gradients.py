"""Attributions from gradients through a whole classifier.

All methods take any differentiable classifier in evaluation mode, and `images` (n, 3, h, w) in [0, 1] on the
classifier's device. They explain the raw logits of `targets` (n,). Captum's own versions put all steps or samples of an
image into one pass, or take one image at a time; the functions here use batches of any size.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glasshead.explainers.attribution import Attribution, Explanation
from glasshead.explainers.passes import (
    Budget,
    Images,
    Model,
    Targets,
    frozen,
    in_passes,
    target_gradients,
    target_logits,
)
from glasshead.seeds import stream_seed

GREYS = (0.0, 0.5, 1.0)  # GradientSHAP's background: black, grey and white images
ROUND_PASSES = 8  # passes prepared at once

# images (b, 3, h, w) to a point for each, and to the weight of the gradient there
Step = Callable[[Tensor], tuple[Tensor, Tensor | float]]


def saliency(classifier: Model, images: Images, targets: Targets, budget: Budget) -> Explanation:
    """Return gradients (n, 3, h, w) of target logits with respect to pixels. Simonyan et al. 2013, arXiv:1312.6034."""
    gradients = _gradient_sum(classifier, images, targets, [lambda batch: (batch, 1.0)], budget)
    return Explanation(gradients.cpu().numpy())


def smoothgrad(classifier: Model, images: Images, targets: Targets, budget: Budget) -> Explanation:
    """Return gradients (n, 3, h, w) averaged over noisy copies of each image. Smilkov et al. 2017, arXiv:1706.03825.

    Reads `samples` and `noise` from the budget. Noisy pixels are not clipped to [0, 1], as clipping would bias the
    noise. All images get the same noise, so that maps differ only because of the images and the classifier.
    """
    draw = _generator(budget, "smoothgrad")
    steps = [
        partial(_noisy, noise=budget.noise * torch.randn(images.shape[1:], generator=draw))
        for _ in range(budget.samples)
    ]
    gradients = _gradient_sum(classifier, images, targets, steps, budget) / budget.samples
    return Explanation(gradients.cpu().numpy())


def _noisy(images: Tensor, noise: Tensor) -> tuple[Tensor, float]:
    return images + noise.to(images), 1.0


def integrated_gradients(
    classifier: Model, images: Images, targets: Targets, budget: Budget
) -> Attribution:
    """Return the Integrated Gradients (n, 3, h, w) of the target logits. Sundararajan et al. 2017, arXiv:1703.01365.

    Reads from the budget `steps`, the points of the Gauss-Legendre rule on the straight path, and `baseline`, the grey
    image where the path starts.
    """
    nodes, weights = np.polynomial.legendre.leggauss(budget.steps)  # on [-1, 1]
    steps = [
        partial(_on_path, start=budget.baseline, distance=(1 + node) / 2, weight=weight / 2)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    ]
    values = _gradient_sum(classifier, images, targets, steps, budget)
    base = _grey_logits(classifier, images, budget.baseline)[targets]
    return _attribution(classifier, images, targets, values, base, budget)


def gradient_shap(
    classifier: Model, images: Images, targets: Targets, budget: Budget
) -> Attribution:
    """Return expected gradients (n, 3, h, w), an estimate of SHAP values. Lundberg & Lee 2017, arXiv:1705.07874.

    The mean of `samples` gradients times (image - grey), each at a random point between the image and one of `GREYS`;
    all images share the random choices. The base is the mean output over `GREYS`. The gap is a sampling error, which
    more samples reduce. Erion et al. 2021, arXiv:1906.10670.
    """
    draw = _generator(budget, "gradient_shap")
    chosen = torch.randint(len(GREYS), (budget.samples,), generator=draw).tolist()
    distances = torch.rand(budget.samples, generator=draw).tolist()
    steps = [
        partial(_on_path, start=GREYS[index], distance=distance, weight=1 / budget.samples)
        for index, distance in zip(chosen, distances, strict=True)
    ]
    values = _gradient_sum(classifier, images, targets, steps, budget)
    bases = torch.stack([_grey_logits(classifier, images, grey) for grey in GREYS])
    return _attribution(classifier, images, targets, values, bases.mean(dim=0)[targets], budget)


def _on_path(images: Tensor, start: float, distance: float, weight: float) -> tuple[Tensor, Tensor]:
    """Return the points at `distance` in [0, 1] from the grey level `start` to the images, and the weighted way."""
    way = images - start
    return start + distance * way, weight * way


def _gradient_sum(
    classifier: Model, images: Tensor, targets: Tensor, steps: Sequence[Step], budget: Budget
) -> Float[Tensor, "n 3 h w"]:
    """Return for each image the weighted sum of the gradients at its points of `steps`.

    A round computes some steps of some images, and no more than its passes need is in memory.
    """
    rows = ROUND_PASSES * budget.batch_size
    chunk = max(1, rows // len(steps))
    sums = []
    with frozen(classifier):
        for batch, target in zip(images.split(chunk), targets.split(chunk), strict=True):
            total = torch.zeros_like(batch)
            for group in _batched(steps, max(1, rows // len(batch))):
                points, weights = zip(*(step(batch) for step in group), strict=True)
                gradients = in_passes(
                    lambda points, target: target_gradients(classifier, points, target),
                    budget.batch_size,
                    torch.cat(points),
                    target.repeat(len(group)),
                )
                for weight, gradient in zip(weights, gradients.split(len(batch)), strict=True):
                    total += weight * gradient
            sums.append(total)
    return torch.cat(sums)


def _batched(steps: Sequence[Step], size: int) -> Iterator[Sequence[Step]]:
    """Yield `steps` in groups of at most `size`."""
    for start in range(0, len(steps), size):
        yield steps[start : start + size]


@torch.no_grad()
def _grey_logits(classifier: Model, images: Tensor, level: float) -> Tensor:
    return classifier(torch.full_like(images[:1], level))[0].double()


def _attribution(
    classifier: Model, images: Tensor, targets: Tensor, values: Tensor, base: Tensor, budget: Budget
) -> Attribution:
    """Return `values` with base and output from separate forward passes, so that the gap is an independent check."""
    output = target_logits(classifier, images, targets, budget.batch_size)
    return Attribution(values.cpu().numpy(), base.cpu().numpy(), output.cpu().numpy())


def _generator(budget: Budget, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(budget.seed, "explain", name))
