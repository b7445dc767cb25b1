"""Decisions of a bottleneck when concepts are set by hand. After Koh et al. 2020, arXiv:2007.04612, section 3.

`concepts` (n, c) are the probabilities of all subtasks, concatenated; `answers` (n, s) are value indices.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn.functional import one_hot

from glasshead.explainers.concepts import subtask_columns
from glasshead.models.classifier import Concept
from glasshead.models.heads import GlassHeads
from glasshead.seeds import generator


def set_probability(
    concepts: Float[Tensor, "n c"], columns: range, value: int, probability: float
) -> Float[Tensor, "n c"]:
    """Return `concepts` with one `value` of the subtask in `columns` set to `probability`, in [0, 1].

    The other values of this subtask share the rest in proportion to their probabilities, or equally if these are all 0.
    """
    probabilities = concepts[:, columns.start : columns.stop].clone()
    probabilities[:, value] = 0
    total = probabilities.sum(dim=1, keepdim=True)
    equal = torch.full_like(probabilities, 1 / (len(columns) - 1))
    probabilities = torch.where(total > 0, probabilities / total, equal) * (1 - probability)
    probabilities[:, value] = probability
    changed = concepts.clone()
    changed[:, columns.start : columns.stop] = probabilities
    return changed


def correct_subtasks(
    subtasks: Sequence[Concept],
    concepts: Float[Tensor, "n c"],
    answers: Int[Tensor, "n s"],
    corrected: Bool[Tensor, "n s"],
) -> Float[Tensor, "n c"]:
    """Return `concepts` in which the true answer has probability 1 wherever `corrected` is True."""
    widths = [len(task.values) for task in subtasks]
    by_subtask = zip(concepts.split(widths, dim=1), answers.T, corrected.T, widths, strict=True)
    written = [
        torch.where(chosen[:, None], one_hot(answer, width).to(probabilities), probabilities)
        for probabilities, answer, chosen, width in by_subtask
    ]
    return torch.cat(written, dim=1)


@torch.no_grad()
def predict_classes(
    classifier: GlassHeads, concepts: Float[Tensor, "n c"]
) -> Int[np.ndarray, " n"]:
    """Return the class that the classifier predicts from each row of concepts."""
    return classifier.logits_from_concepts(concepts).argmax(dim=1).cpu().numpy()


def intervention_curve(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    answers: Int[Tensor, "n s"],
    labels: Int[Tensor, " n"],
    order: Literal["uncertainty", "random"],
    seed: int = 0,
) -> Bool[np.ndarray, "k n"]:
    """Return (subtasks + 1, n): whether each image is classified correctly with 0, 1, … of its subtasks corrected.

    Its mean over images is accuracy as a function of the number of corrected concepts.

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
    corrected = (
        correct_subtasks(classifier.concepts, concepts, answers, position < count)
        for count in range(answers.shape[1] + 1)
    )
    return np.stack([predict_classes(classifier, rows) for rows in corrected]) == labels.numpy()


def known_concepts_curve(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    labels: Int[Tensor, " n"],
    order: Sequence[int],
) -> Bool[np.ndarray, "k n"]:
    """Return (subtasks + 1, n): whether each image is classified correctly from the first 0, 1, … subtasks of `order`.

    The other subtasks are set to their mean over `background`. The mean over images is accuracy with k known concepts:
    if it exceeds what the answers to these k can tell, their probabilities leak other information. `order` holds each
    subtask index once.
    """
    columns = subtask_columns(classifier.concepts)
    current = background.mean(dim=0).expand_as(concepts).clone()
    predicted = [predict_classes(classifier, current)]
    for task in order:
        own_columns = slice(columns[task].start, columns[task].stop)
        current[:, own_columns] = concepts[:, own_columns]
        predicted.append(predict_classes(classifier, current))
    return np.stack(predicted) == labels.numpy()


def subtask_entropy(
    subtasks: Sequence[Concept], concepts: Float[Tensor, "n c"]
) -> Float64[np.ndarray, "n s"]:
    """Return (n, s) the entropy of each subtask's probabilities in nats, at least 0."""
    by_subtask = concepts.double().split([len(task.values) for task in subtasks], dim=1)
    entropies = [torch.special.entr(probabilities).sum(dim=1) for probabilities in by_subtask]
    return torch.stack(entropies, dim=1).cpu().numpy()
