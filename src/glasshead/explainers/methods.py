"""All pixel explanation methods by name, with the classifiers that each applies to, and their stored maps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from glasshead.errors import ExplanationError
from glasshead.explainers.attention import attention_rollout, gradient_weighted_attention
from glasshead.explainers.attribution import Explanation, explanation_of
from glasshead.explainers.baselines import centre_gaussian, edge_detector, random_map
from glasshead.explainers.cam import grad_cam, layer_cam, patch_grad_cam
from glasshead.explainers.gradients import gradient_shap, integrated_gradients, saliency, smoothgrad
from glasshead.explainers.layers import cam_layers, transformer_layers
from glasshead.explainers.passes import Budget, Images, Targets
from glasshead.explainers.perturbation import lime, occlusion, occlusion_positions
from glasshead.explainers.propagation import lrp, propagable
from glasshead.models.classifier import Access, access_of

Family = Literal["gradient", "cam", "attention", "perturbation", "propagation", "baseline"]
Explain = Callable[[nn.Module, Tensor, Tensor, Budget], Explanation]
Applies = Callable[[nn.Module], str | None]

# what each family must be able to compute
NEEDED: dict[Family, Access] = {
    "gradient": "gradient",
    "cam": "gradient",
    "attention": "gradient",
    "propagation": "gradient",
    "perturbation": "forward",
    "baseline": "table",
}
LEVELS: tuple[Access, ...] = ("table", "forward", "gradient")
LACKING = {
    "forward": "not possible: only a table of the classifier's outputs is known",
    "gradient": "not possible: the classifier's gradients cannot be computed",
}


@dataclass(frozen=True)
class Method:
    """A way to explain images.

    Attributes:
        name: its name in reports and parameters.
        family: the principle that the method uses.
        explain: the function that explains.
        passes: returns, for a budget and the side of images in pixels, how many forward passes an explanation takes.
        fits: returns None for a classifier whose layers are of the kind that the method reads, else the reason.
    """

    name: str
    family: Family
    explain: Explain
    passes: Callable[[Budget, int], float]
    fits: Applies = lambda classifier: None

    def applies_to(self, classifier: nn.Module) -> str | None:
        """Return None for a classifier that the method can explain, else the reason why not."""
        access = access_of(classifier)
        needed = NEEDED[self.family]
        if LEVELS.index(access) < LEVELS.index(needed):
            return LACKING["forward" if access == "table" else needed]
        return self.fits(classifier)

    def __call__(
        self, classifier: nn.Module, images: Images, targets: Targets, budget: Budget
    ) -> Explanation:
        """Return the explanation of the raw logit of each image's target.

        Args:
            classifier: images to logits, in evaluation mode, on the device of `images`.
            images: in [0, 1], at the classifier's input size.
            targets: an index into the logits for each image.
            budget: how much the method may compute.

        Raises ExplanationError: the method does not apply to the classifier, or images or targets have the wrong shape,
        type or range.
        """
        reason = self.applies_to(classifier)
        if reason:
            raise ExplanationError(f"{self.name} is not applicable: {reason}")
        _check(images, targets)
        return self.explain(classifier, images, targets, budget)


def _check(images: Tensor, targets: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ExplanationError(
            f"Images of shape {tuple(images.shape)} cannot be explained. Pass a batch (n, 3, h, w) of 1 image or more."
        )
    if not images.is_floating_point() or not ((images >= 0) & (images <= 1)).all():
        raise ExplanationError(
            "Images to explain must be floats in [0, 1] without NaN. Divide pixels from 0 to 255 by 255."
        )
    if targets.dtype != torch.int64 or targets.shape != images.shape[:1]:
        raise ExplanationError(
            f"{len(images)} images need as many targets, as int64; these are {tuple(targets.shape)} of {targets.dtype}."
        )


def _reason(find: Callable[[nn.Module], object]) -> Applies:
    """Return a check of classifiers that returns the message of the error that `find` raises, or None."""

    def applies_to(classifier: nn.Module) -> str | None:
        try:
            find(classifier)
        except ExplanationError as error:
            return str(error)
        return None

    return applies_to


def _gradients(count: str | None = None) -> Callable[[Budget, int], float]:
    """Return the passes of a method that takes `count` of the budget, or one, passes forward and back.

    A gradient of the pixels costs about as much as the pass forward.
    """
    return lambda budget, side: 2.0 * (getattr(budget, count) if count else 1)


def _none(budget: Budget, side: int) -> float:
    return 0.0


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("saliency", "gradient", saliency, _gradients()),
        Method("smoothgrad", "gradient", smoothgrad, _gradients("samples")),
        Method("integrated_gradients", "gradient", integrated_gradients, _gradients("steps")),
        Method("gradient_shap", "gradient", gradient_shap, _gradients("samples")),
        Method("grad_cam", "cam", grad_cam, _gradients(), _reason(cam_layers)),
        Method("layer_cam", "cam", layer_cam, _gradients(), _reason(cam_layers)),
        Method("patch_grad_cam", "cam", patch_grad_cam, _gradients(), _reason(transformer_layers)),
        Method(
            "attention_rollout",
            "attention",
            attention_rollout,
            lambda budget, side: 1,
            _reason(transformer_layers),
        ),
        Method(
            "gradient_weighted_attention",
            "attention",
            gradient_weighted_attention,
            _gradients(),
            _reason(transformer_layers),
        ),
        Method("occlusion", "perturbation", occlusion, occlusion_positions),
        Method("lime", "perturbation", lime, lambda budget, side: budget.lime_samples),
        Method("lrp", "propagation", lrp, _gradients(), propagable),
        Method("centre_gaussian", "baseline", centre_gaussian, _none),
        Method("edge_detector", "baseline", edge_detector, _none),
        Method("random", "baseline", random_map, _none),
    )
}


def real_methods(names: Iterable[str]) -> list[str]:
    """Return those of `names` that are not baselines; baselines never look at the classifier."""
    return [name for name in names if METHODS[name].family != "baseline"]


@dataclass(frozen=True)
class MethodMaps:
    """A method's maps (r, h, w) for the images in `rows` (r,), which are indices into all explained images."""

    rows: Int[np.ndarray, " r"]
    maps: Float[np.ndarray, "r h w"]

    @property
    def unsigned(self) -> bool:
        """Whether no value is negative: the method then shows how much a pixel matters, but not for or against what."""
        return not (self.maps < 0).any()

    def of(self, row: int) -> Float[np.ndarray, "h w"] | None:
        """Return the map of image `row`, or None if the method did not explain it."""
        matches = np.flatnonzero(self.rows == row)
        return self.maps[matches[0]] if len(matches) else None


def method_maps(arrays: Mapping[str, np.ndarray]) -> dict[str, MethodMaps]:
    """Return the maps of each method in the order of `arrays["methods"]`, without baselines.

    For each method m, `arrays` holds its values under m and the explained rows under m/rows. If values add up to output
    - base, it also holds m/base and m/output.
    """
    rows = {name: arrays[f"{name}/rows"] for name in real_methods(arrays["methods"].tolist())}
    return {
        name: MethodMaps(own, explanation_of(arrays, name, own).maps) for name, own in rows.items()
    }
