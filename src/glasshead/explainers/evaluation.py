"""The evaluation of one explanation method on one classifier: all measures of its maps."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from pydantic import BaseModel, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from glasshead.explainers.attribution import Attribution, Explanation
from glasshead.explainers.deletion import pixel_auc
from glasshead.explainers.faithfulness import Noise, infidelity, max_sensitivity
from glasshead.explainers.localisation import (
    mask_iou,
    mass_on_mark,
    pointing_game,
    relevance_mass_accuracy,
)
from glasshead.explainers.maps import map_faults, sparsity
from glasshead.explainers.measures import Measure, completeness, summarise
from glasshead.explainers.methods import Method
from glasshead.explainers.passes import Budget, without_gradients
from glasshead.explainers.randomisation import map_similarity
from glasshead.models.classifier import Classifier, access_of

Values = dict[str, Float64[np.ndarray, " n"]]


class EvaluationParams(BaseModel, extra="forbid", frozen=True):
    """The size of the evaluation of a method.

    Attributes:
        images: test images sampled at random, the same for all methods.
        deletion_steps: steps in which pixels are deleted or inserted.
        infidelity_samples: noisy copies of each image.
        randomisation_images: images that are explained again with shuffled weights.
        sensitivity_images: images that are explained again after small changes; 0 skips this measure.
        sensitivity_samples: changed copies of each of these images.
    """

    images: PositiveInt = 32
    deletion_steps: PositiveInt = 16
    infidelity_samples: PositiveInt = 16
    randomisation_images: PositiveInt = 16
    sensitivity_images: NonNegativeInt = 8
    sensitivity_samples: PositiveInt = 4


@dataclass(frozen=True)
class ExplainedImages:
    """The images that methods are measured on.

    Attributes:
        images: in [0, 1].
        targets: the index of the explained class.
        masks, marks: the pixels of the object and of a planted mark; all False if unknown.
        numbers, falls: the number of each image, which seeds its noise, and the result of `noise_response`.
    """

    images: Float[Tensor, "n 3 h w"]
    targets: Int[Tensor, " n"]
    masks: Bool[np.ndarray, "n h w"]
    marks: Bool[np.ndarray, "n h w"]
    numbers: Int[np.ndarray, " n"]
    falls: Float[np.ndarray, "n s"]

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, rows: slice | np.ndarray) -> "ExplainedImages":
        """Return the images in `rows`."""
        return ExplainedImages(*(getattr(self, column.name)[rows] for column in fields(self)))


def measure_method(
    method: Method,
    classifier: Classifier,
    randomised: Classifier | None,
    subject: ExplainedImages,
    explained: Explanation,
    budget: Budget,
    evaluation: EvaluationParams,
    n_resamples: int,
    seed: int,
) -> dict[str, Measure]:
    """Return all measures of `explained`, the maps by `method` of the images `subject`, with 95 % bootstrap intervals.

    Some measures explain only the first images of `subject` again, so the images should be in random order.
    `randomised` is the classifier with shuffled weights; a faithful method gives other maps for it. Without it, that is
    not measured. Of a classifier whose access level is table, only the place and the form of maps are.

    Completeness is measured only for methods whose contributions must add up, and `mass_on_mark` only if there are
    marks.
    """

    def explain(model: nn.Module, images: Tensor, targets: Tensor) -> Float[np.ndarray, "n h w"]:
        return method(model, images.clamp(0, 1), targets, budget).maps  # changes can leave [0, 1]

    maps = explained.maps.astype(np.float32)
    reshuffled, perturbed = (
        subject.at(slice(evaluation.randomisation_images)),
        subject.at(slice(evaluation.sensitivity_images)),
    )
    samples = evaluation.sensitivity_samples
    groups = [
        _localisation(subject, maps),
        {"sparsity": sparsity(maps), **map_faults(maps)},
    ]
    if access_of(classifier) != "table":
        groups.insert(0, _faithfulness(classifier, subject, maps, budget, evaluation, seed))
    if randomised is not None:
        correlation, similarity = map_similarity(
            maps[: len(reshuffled)], explain(randomised, reshuffled.images, reshuffled.targets)
        )
        groups.append({"randomisation": correlation, "randomisation_ssim": similarity})
    if len(perturbed):
        changes = max_sensitivity(
            explain, classifier, perturbed.images, perturbed.targets, seed, samples=samples
        )
        groups.append({"max_sensitivity": changes})
    measures: dict[str, Measure] = {}
    for group in groups:
        measures |= summarise(group, n_resamples, seed)
    if isinstance(explained, Attribution):
        measures |= completeness(explained, n_resamples, seed)
    return measures


def _faithfulness(
    classifier: Classifier,
    subject: ExplainedImages,
    maps: Float[np.ndarray, "n h w"],
    budget: Budget,
    evaluation: EvaluationParams,
    seed: int,
) -> Values:
    image, nothing = subject.images, torch.full_like(subject.images, budget.baseline)
    settings = subject.targets, maps, evaluation.deletion_steps, budget.batch_size
    noise = Noise(seed, evaluation.infidelity_samples)
    probabilities = without_gradients(classifier).probabilities
    return {
        "deletion_auc": pixel_auc(probabilities, image, nothing, *settings),
        "insertion_auc": pixel_auc(probabilities, nothing, image, *settings),
        "infidelity": infidelity(maps, subject.numbers, noise, subject.falls),
    }


def _localisation(subject: ExplainedImages, maps: Float[np.ndarray, "n h w"]) -> Values:
    measures = {
        "pointing_game": pointing_game(maps, subject.masks),
        "relevance_mass_accuracy": relevance_mass_accuracy(maps, subject.masks),
        "iou": mask_iou(maps, subject.masks),
    }
    return measures | (
        {"mass_on_mark": mass_on_mark(maps, subject.marks)} if subject.marks.any() else {}
    )
