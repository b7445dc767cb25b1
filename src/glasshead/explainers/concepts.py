"""Explain a bottleneck by what each concept adds to a decision, and one concept as a classifier of its own."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.coalitions import MAX_EXACT_PLAYERS, Function, Game
from glasshead.explainers.shapley import exact_shapley, kernel_shapley, permutation_shapley
from glasshead.explainers.two_layer import as_two_layer
from glasshead.models.classifier import Concept
from glasshead.models.heads import GlassHeads

logger = logging.getLogger(__name__)

Engine = Literal["exact", "kernel", "permutation"]
Players = Literal["subtasks", "values"]
Output = Literal["probability", "logit"]


def subtask_columns(subtasks: Sequence[Concept]) -> list[range]:
    """Return each subtask's columns among the concatenated concept probabilities."""
    ends = np.cumsum([len(subtask.values) for subtask in subtasks]).tolist()
    return [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def player_columns(subtasks: Sequence[Concept], players: Players) -> dict[str, range]:
    """Return the columns of each Shapley player by name: a subtask, or a single probability `<subtask>/<value>`."""
    columns = subtask_columns(subtasks)
    if players == "subtasks":
        return {
            task.name: task_columns for task, task_columns in zip(subtasks, columns, strict=True)
        }
    return {
        f"{task.name}/{value}": range(column, column + 1)
        for task, task_columns in zip(subtasks, columns, strict=True)
        for value, column in zip(task.values, task_columns, strict=True)
    }


def concept_game(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    targets: Int[Tensor, " n"],
    players: Players = "subtasks",
    output: Output = "probability",
) -> Game:
    """Return the Shapley game on each row's target class; the players are those of `player_columns`, in order.

    `concepts` and `background` are concept probabilities.

    Args:
        output: what players share: the calibrated probability of the target class, or its raw logit.
    """
    function = _output_function(classifier, output)
    groups = list(player_columns(classifier.concepts, players).values())
    return Game(function, concepts, background, groups, targets)


def shapley_values(game: Game, engine: Engine, max_coalitions: int, seed: int) -> Attribution:
    """Return the Shapley values (n, players), computed by `engine`.

    For more than 16 players, `exact` gives way to `permutation_shapley`, with a warning: it estimates the values, with
    standard errors, from at most `max_coalitions` coalitions.
    """
    if engine == "exact" and len(game.groups) <= MAX_EXACT_PLAYERS:
        return exact_shapley(game)
    if engine == "exact":
        logger.warning(
            "Exact Shapley values are too costly for %d players; estimating them from %d coalitions.",
            len(game.groups), max_coalitions,
        )  # fmt: skip
    estimate = kernel_shapley if engine == "kernel" else permutation_shapley
    return estimate(game, max_coalitions, seed)


def _output_function(classifier: GlassHeads, output: Output) -> Function:
    """Return the function from concept probabilities to outputs; a TwoLayer, which is faster, where possible."""
    temperature = classifier.temperature if output == "probability" else None
    if (network := as_two_layer(classifier.meta_learner, temperature)) is not None:
        return network

    def probabilities(features: Float[Tensor, "m c"]) -> Float[Tensor, "m k"]:
        return (classifier.logits_from_concepts(features) / classifier.temperature).softmax(dim=1)

    return probabilities if output == "probability" else classifier.logits_from_concepts


class ConceptLogits(nn.Module):
    """Images → the logits of one concept's answers: pixels → CLIP → the head of that subtask.

    Attributes:
        classes: the concept's answers in logit order.

    Raises ParameterError if the classifier has no such concept.
    """

    def __init__(self, classifier: GlassHeads, concept: str) -> None:
        super().__init__()
        names = [known.name for known in classifier.concepts]
        if concept not in names:
            raise ParameterError(
                f"The classifier has no concept {concept!r}. Choose one of {', '.join(names)}."
            )
        index = names.index(concept)
        self.classifier, self.classes = classifier, classifier.concepts[index].values
        self._columns = list(subtask_columns(classifier.concepts)[index])

    def cam_layers(self) -> list[nn.Module]:
        """Return the classifier's convolutional stages."""
        return self.classifier.cam_layers()

    def transformer_layers(self) -> list[nn.Module]:
        """Return the classifier's transformer layers, if it has any."""
        return self.classifier.transformer_layers()

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b v"]:
        """Return the raw logits of the concept's answers."""
        return self.classifier.concept_logits(self.classifier.embed(images))[:, self._columns]
