"""Decisions of a bottleneck when concepts are set by hand. After Koh et al. 2020, arXiv:2007.04612, section 3.

Concepts are probabilities (n, c) of all subtasks side by side; answers (n, s) are value indices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from glasshead.errors import ParameterError
from glasshead.explainers.concepts import subtask_columns
from glasshead.models.classifier import Concept
from glasshead.models.heads import GlassHeads
from glasshead.seeds import generator


@dataclass(frozen=True)
class Flips:
    """The predicted class (n,) before and after an intervention."""

    before: Int[np.ndarray, " n"]
    after: Int[np.ndarray, " n"]

    @property
    def flipped(self) -> Bool[np.ndarray, " n"]:
        """Return (n,) whether the predicted class changes."""
        changed: Bool[np.ndarray, " n"] = self.before != self.after
        return changed


def set_probability(
    subtasks: Sequence[Concept],
    concepts: Float[Tensor, "n c"],
    subtask: str,
    value: str,
    probability: float,
) -> Float[Tensor, "n c"]:
    """Return concepts in which `value` of `subtask` has `probability`; its other values share the rest in proportion.

    If their probabilities were all 0, they get equal parts.

    Raises ParameterError for an unknown subtask or value, or a probability outside [0, 1].
    """
    task, columns = _find(subtasks, subtask)
    if value not in task.values:
        raise ParameterError(
            f"The subtask {subtask!r} has no value {value!r}. Choose one of {', '.join(task.values)}."
        )
    if not 0 <= probability <= 1:
        raise ParameterError(
            f"The probability of {subtask}/{value} is {probability}. Give one from 0 to 1."
        )
    chosen = list(task.values).index(value)
    probabilities = concepts[:, columns.start : columns.stop].clone()
    probabilities[:, chosen] = 0
    total = probabilities.sum(dim=1, keepdim=True)
    equal = torch.full_like(probabilities, 1 / (len(columns) - 1))
    probabilities = torch.where(total > 0, probabilities / total, equal) * (1 - probability)
    probabilities[:, chosen] = probability
    changed = concepts.clone()
    changed[:, columns.start : columns.stop] = probabilities
    return changed


def correct_subtasks(
    subtasks: Sequence[Concept],
    concepts: Float[Tensor, "n c"],
    answers: Int[Tensor, "n s"],
    corrected: Bool[Tensor, "n s"],
) -> Float[Tensor, "n c"]:
    """Return concepts in which the true answer has probability 1 wherever `corrected`."""
    corrected_columns = []
    for task, columns in enumerate(subtask_columns(subtasks)):
        probabilities = concepts[:, columns.start : columns.stop]
        truth = torch.nn.functional.one_hot(answers[:, task], len(columns)).to(probabilities)
        corrected_columns.append(torch.where(corrected[:, task, None], truth, probabilities))
    return torch.cat(corrected_columns, dim=1)


@torch.no_grad()
def compare_decisions(
    classifier: GlassHeads, concepts: Float[Tensor, "n c"], changed: Float[Tensor, "n c"]
) -> Flips:
    """Return the decisions from `concepts` and from `changed`."""
    before, after = (
        classifier.logits_from_concepts(rows).argmax(dim=1).cpu().numpy()
        for rows in (concepts, changed)
    )
    return Flips(before, after)


def intervention_curve(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    answers: Int[Tensor, "n s"],
    labels: Int[Tensor, " n"],
    order: Literal["uncertainty", "random"],
    seed: int = 0,
) -> Bool[np.ndarray, "k n"]:
    """Return (subtasks + 1, n) whether each image is right when 0, 1, … of its subtasks are corrected.

    The mean over images is accuracy against the number of corrected concepts.

    Args:
        order: "uncertainty" corrects the subtask of the largest entropy first; "random" takes a random order for
            each image, which depends on `seed`.
    """
    if order == "uncertainty":
        rank = np.argsort(-subtask_entropy(classifier.concepts, concepts), axis=1, kind="stable")
    else:
        draw = generator(seed, "interventions")
        rank = draw.permuted(np.tile(np.arange(answers.shape[1]), (len(answers), 1)), axis=1)
    position = torch.from_numpy(np.argsort(rank, axis=1)).to(concepts.device)
    return np.stack(
        [
            _correct(
                classifier,
                correct_subtasks(classifier.concepts, concepts, answers, position < k),
                labels,
            )
            for k in range(answers.shape[1] + 1)
        ]
    )


def known_concepts_curve(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    labels: Int[Tensor, " n"],
    order: Sequence[int],
) -> Bool[np.ndarray, "k n"]:
    """Return (subtasks + 1, n) whether each image is right when only the first 0, 1, … subtasks of `order` are known.

    The others are at the mean of `background`. The mean over images is accuracy at k concepts: subtasks that decide
    more than their answers can tell leak something else.

    Raises ValueError unless `order` names each subtask once.
    """
    columns = subtask_columns(classifier.concepts)
    if sorted(order) != list(range(len(columns))):
        raise ValueError(
            f"the order {list(order)} does not name each of {len(columns)} subtasks once"
        )
    current = background.mean(dim=0).expand_as(concepts).clone()
    right = [_correct(classifier, current, labels)]
    for task in order:
        own_columns = slice(columns[task].start, columns[task].stop)
        current[:, own_columns] = concepts[:, own_columns]
        right.append(_correct(classifier, current, labels))
    return np.stack(right)


def subtask_entropy(
    subtasks: Sequence[Concept], concepts: Float[Tensor, "n c"]
) -> Float64[np.ndarray, "n s"]:
    """Return (n, s) the entropy of each subtask's probabilities in nats, at least 0."""
    probabilities = [
        concepts[:, own_columns.start : own_columns.stop].double()
        for own_columns in subtask_columns(subtasks)
    ]
    entropies = [
        torch.special.entr(task_probabilities).sum(dim=1) for task_probabilities in probabilities
    ]
    return torch.stack(entropies, dim=1).cpu().numpy()


@torch.no_grad()
def _correct(
    classifier: GlassHeads, concepts: Float[Tensor, "n c"], labels: Int[Tensor, " n"]
) -> Bool[np.ndarray, " n"]:
    return (classifier.logits_from_concepts(concepts).argmax(dim=1) == labels).cpu().numpy()


def _find(subtasks: Sequence[Concept], name: str) -> tuple[Concept, range]:
    for task, columns in zip(subtasks, subtask_columns(subtasks), strict=True):
        if task.name == name:
            return task, columns
    known = ", ".join(task.name for task in subtasks)
    raise ParameterError(f"There is no subtask {name!r}. Choose one of {known}.")
