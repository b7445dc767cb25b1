"""The node of `explain` that explains a bottleneck's answer to each subtask by the pixels of the shown images."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from glasshead.device import choose_device, computing_on
from glasshead.explainers.concept_logits import ConceptLogits
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import in_passes
from glasshead.models.classifier import Classifier, as_images
from glasshead.pipelines.explain.concept_nodes import rank_subtasks, true_answers
from glasshead.pipelines.explain.nodes import Arrays
from glasshead.pipelines.explain.params import ExplainParams

logger = logging.getLogger(__name__)


def explain_answers(
    classifier: Classifier,
    example_images: Arrays,
    examples: pd.DataFrame,
    samples: pd.DataFrame,
    shapley: Arrays,
    parameters: ExplainParams,
    seed: int,
) -> Arrays:
    """Return a map of the pixels for the likeliest value of each concept, for the images that figures show.

    Arrays: image_id (n,); method (), the first of `concepts.maps` that applies, "" for none; subtasks (s,), the
    `concepts.mapped` of `all` () with the largest mean |Shapley value|, none without a method; maps (n, s, h, w)
    float32 of the value's raw logit; answers (n, s), the values; probabilities (n, s), raw; right (n, s), whether the
    answers are true.

    Raises ArtifactError if `samples` lack answers to the subtasks.
    """
    shown = examples["shown"].to_numpy()
    pixels = torch.from_numpy(example_images["pixels"][shown])
    ids = examples.loc[shown, "image_id"]
    method = _first_applicable(classifier, parameters.concepts.maps)
    chosen = rank_subtasks(classifier.concepts, shapley) if method and classifier.concepts else []
    subtasks = [classifier.concepts[index] for index in chosen[: parameters.concepts.mapped]]
    targets = true_answers(subtasks, samples.set_index("image_id").loc[ids])
    device = choose_device(parameters.device, "explain.device")
    budget = parameters.budget.model_copy(update={"seed": seed})
    maps = np.zeros((len(pixels), len(subtasks), *pixels.shape[2:]), np.float32)
    likeliest = np.zeros((len(pixels), len(subtasks)), int)
    probabilities = np.zeros((len(pixels), len(subtasks)), np.float32)
    with computing_on(classifier, device):
        images = as_images(pixels.to(device))
        for column, task in enumerate(subtasks):
            concept = ConceptLogits(classifier, task.name)
            best = _probabilities(concept, images, budget.batch_size).max(dim=1)
            maps[:, column] = METHODS[method](concept, images, best.indices, budget).maps
            likeliest[:, column] = best.indices.cpu()
            probabilities[:, column] = best.values.cpu()
    answers = [
        np.array(task.values, dtype=str)[likeliest[:, column]]
        for column, task in enumerate(subtasks)
    ]
    return {
        "image_id": np.array(ids, dtype=str),
        "method": np.array(method),
        "subtasks": np.array([task.name for task in subtasks], dtype=str),
        "all": np.array(len(classifier.concepts)),
        "maps": maps,
        "answers": np.stack(answers, axis=1) if answers else np.zeros((len(pixels), 0), dtype=str),
        "probabilities": probabilities,
        "right": likeliest == targets.numpy(),
    }


def _first_applicable(classifier: nn.Module, methods: Sequence[str]) -> str:
    """Return the first method that applies to the classifier, or ""."""
    reasons = {name: METHODS[name].applies_to(classifier) for name in methods}
    for name, reason in reasons.items():
        if not reason:
            return name
        logger.info("Concepts are not explained by %s: %s", name, reason)
    return ""


def _probabilities(concept: ConceptLogits, images: Tensor, size: int) -> Tensor:
    @torch.no_grad()
    def compute(batch: Tensor) -> Tensor:
        return concept(batch).softmax(dim=1)

    return in_passes(compute, size, images)
