"""Passes through a classifier in batches that fit into memory, and the budget of explanation methods."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar, cast

import torch
from jaxtyping import Float, Float64, Int
from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from glasshead.device import FittingBatches, share_one_heap, torch_threads
from glasshead.errors import ExplanationError
from glasshead.models import packed

# images (b, 3, h, w) in [0, 1] to raw logits (b, k); a module must be in evaluation mode
Model = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]
# On a CPU, more in a pass need more memory and are hardly faster.
CPU_IMAGES = 8  # the most images in one pass
CPU_VALUES = 2 * 3 * 224**2  # the most pixel values in one pass
AnyModel = TypeVar("AnyModel", bound=Model)
Images = Float[Tensor, "n 3 h w"]  # in [0, 1], at the classifier's input size
Targets = Int[Tensor, " n"]  # for each image, the index of the explained logit


def in_passes(
    function: Callable[..., Tensor], size: int, *tensors: Tensor, parallel: bool = True
) -> Tensor:
    """Return `function` of all rows of `tensors`, computed in batches of at most `size` rows.

    If a GPU runs out of memory, the batch size is halved, with a warning. On a CPU each pass uses one thread, and
    several passes run at once unless `parallel` is False; results do not depend on the number of threads.

    Raises ExplanationError if a single row does not fit into memory.
    """
    fitting = FittingBatches(
        tensors[0].device.type, ExplanationError, "Use a smaller classifier, or explain on the CPU."
    )
    compute = partial(fitting, function)
    batches = [tensor.split(size) for tensor in tensors]
    if tensors[0].is_cuda:
        return torch.cat(list(map(compute, *batches)))
    share_one_heap()
    with torch_threads(1) as threads, ThreadPoolExecutor(threads if parallel else 1) as pool:
        return torch.cat(list(pool.map(compute, *batches)))


def without_gradients(model: AnyModel) -> AnyModel:
    """Return `model` for forward passes alone: on a CPU, a faster copy whose logits differ only by rounding."""
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    if weights is None or weights.device.type != "cpu" or not packed.is_available():
        return model
    return cast(AnyModel, packed.pack_if_it_runs(cast(nn.Module, model)))


def target_gradients(
    model: Model, images: Float[Tensor, "b 3 h w"], targets: Int[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Return the gradients of the target logits with respect to the pixels, in one pass."""
    with torch.enable_grad():
        points = images.detach().requires_grad_()
        logits = model(points).gather(1, targets[:, None])
        return torch.autograd.grad(logits.sum(), points)[0]


def target_logits(
    model: Model, images: Images, targets: Targets, size: int
) -> Float64[Tensor, " n"]:
    """Return the target logit of each image from plain forward passes."""

    @torch.no_grad()
    def chosen(batch: Tensor, target: Tensor) -> Tensor:
        return model(batch).double().gather(1, target[:, None])[:, 0]

    return in_passes(chosen, size, images, targets)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Compute no gradients for a module's parameters inside this context; restore their `requires_grad` afterwards."""
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


class Budget(BaseModel, extra="forbid", frozen=True):
    """How much methods may compute, and settings that they share; the docstring of each method says what it reads.

    Attributes:
        batch_size: images in one pass through the classifier, halved if a GPU runs out of memory; on a CPU, at most 8
            in each thread, and fewer if they are large.
        steps: points on the path of Integrated Gradients; more points reduce the gap.
        samples: noisy copies of each image for SmoothGrad, and points of GradientSHAP.
        lime_samples: copies of each image with hidden patches, to which LIME's linear model is fitted; must be more
            than the patches of an image.
        noise: standard deviation of SmoothGrad's noise, as a fraction of the pixel range.
        baseline: grey level in [0, 1] that stands for "nothing": 0 is black, 1 is white.
        patch: side in pixels of the square patches that occlusion and LIME hide; None: a quarter of the image's shorter
            side.
        stride: pixels by which occlusion moves its patch; None: half of `patch`.
        seed: seeds all random choices.
    """

    batch_size: PositiveInt = 32
    steps: PositiveInt = 64
    samples: PositiveInt = 32
    lime_samples: PositiveInt = 256
    noise: NonNegativeFloat = 0.15
    baseline: float = Field(default=0.0, ge=0.0, le=1.0)
    patch: PositiveInt | None = None
    stride: PositiveInt | None = None
    seed: NonNegativeInt = 0

    def for_images(self, images: Images, seed: int) -> "Budget":
        """Return this budget with `seed` and, on a CPU, batches of `CPU_IMAGES` and `CPU_VALUES` at most."""
        size = self.batch_size
        if not images.is_cuda:
            size = max(1, min(size, CPU_IMAGES, CPU_VALUES // images[0].numel()))
        return self.model_copy(update={"batch_size": size, "seed": seed})
