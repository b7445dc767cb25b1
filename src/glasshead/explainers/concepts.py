"""Explanations of a bottleneck in its own terms: what each concept subtask adds to a decision."""

import logging
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from glasshead.explainers.attribution import Attribution
from glasshead.explainers.shapley import MAX_EXACT_PLAYERS, exact_shapley, kernel_shapley

logger = logging.getLogger(__name__)


class Subtask(Protocol):
    """A named concept and the names of its values."""

    @property
    def name(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...


class Bottleneck(Protocol):
    """What explanations by concepts ask of a classifier; `concepts` is empty where it has none."""

    @property
    def concepts(self) -> Sequence[Subtask]: ...
    @property
    def temperature(self) -> float: ...
    def concept_probabilities(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]: ...
    def logits_from_concepts(self, concepts: Float[Tensor, "n c"]) -> Float[Tensor, "n k"]: ...


def subtask_columns(subtasks: Sequence[Subtask]) -> list[range]:
    """Return each subtask's columns among the concatenated concept probabilities."""
    ends = np.cumsum([len(subtask.values) for subtask in subtasks]).tolist()
    return [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def subtask_shapley(
    classifier: Bottleneck,
    concepts: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    targets: Int[Tensor, " n"],
    engine: Literal["exact", "kernel"],
    max_coalitions: int,
    seed: int,
) -> Attribution:
    """Return the Shapley values (n, subtasks) of the calibrated probability of each row's target class.

    `concepts` and `background` are concept probabilities. Above 16 subtasks the exact engine gives way, with a
    warning, to the kernel's estimate from at most `max_coalitions` coalitions.
    """

    def probabilities(features: Float[Tensor, "m c"]) -> Float[Tensor, "m k"]:
        return (classifier.logits_from_concepts(features) / classifier.temperature).softmax(dim=1)

    groups = subtask_columns(classifier.concepts)
    if engine == "exact" and len(groups) <= MAX_EXACT_PLAYERS:
        return exact_shapley(probabilities, concepts, background, groups, targets)
    if engine == "exact":
        logger.warning(
            "%d subtasks are too many for exact Shapley values; estimating them from %d coalitions.",
            len(groups), max_coalitions,
        )  # fmt: skip
    return kernel_shapley(
        probabilities, concepts, background, groups, targets, max_coalitions, seed
    )
