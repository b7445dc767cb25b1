"""Nodes of `explain` for bottlenecks: Shapley values of concepts, interventions on them, and maps of their answers."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from glasshead.calibration.bootstrap import bootstrap_intervals, mean_of
from glasshead.device import choose_device, computing_on
from glasshead.embedding.store import Embeddings
from glasshead.errors import ArtifactError
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.coalitions import MAX_EXACT_PLAYERS
from glasshead.explainers.concepts import (
    ConceptLogits,
    concept_game,
    player_columns,
    shapley_values,
    subtask_columns,
)
from glasshead.explainers.flips import measure_flips
from glasshead.explainers.interventions import intervention_curve, known_concepts_curve
from glasshead.explainers.methods import METHODS
from glasshead.explainers.passes import in_passes
from glasshead.explainers.shapley import SampledAttribution, shapley_interactions
from glasshead.models.classifier import Concept, as_images
from glasshead.models.heads import GlassHeads
from glasshead.pipelines.explain.nodes import Arrays, class_indices, identity
from glasshead.pipelines.explain.params import ExplainParams
from glasshead.progress import reported
from glasshead.seeds import generator, stream_seed

logger = logging.getLogger(__name__)

Curves = dict[str, Float[np.ndarray, "k n"] | Bool[np.ndarray, "k n"]]


def explain_concepts(
    classifier: GlassHeads,
    embeddings: Embeddings,
    samples: pd.DataFrame,
    examples: pd.DataFrame,
    parameters: ExplainParams,
    seed: int,
) -> Arrays:
    """Return what each Shapley player (a subtask, or one of its values) adds to the output for the predicted class.

    Arrays: image_id, predicted (n,); unit () of the output, "probability" (calibrated) or "logit"; players (p,);
    Shapley values (n, p), base and output (n,); concepts (n, c), the probabilities of the concept values; their names
    concept_value (c,) and players concept_player (c,). The exact engine also gives interactions (n, p, p), whose rows
    add up to the Shapley values; engines that estimate also give standard_error (n, p). Absent players take their
    probabilities from train rows.

    Raises ArtifactError if `embeddings` are not of `samples`, or not from the classifier's backbone.
    """
    players = player_columns(classifier.concepts, parameters.concepts.players)
    content = samples.set_index("image_id")["content_hash"]
    train = content[(samples["split"] == "train").to_numpy()]
    draw = generator(seed, "explain", "background")
    background = train.sample(min(parameters.background, len(train)), random_state=draw)
    concepts = _concept_probabilities(classifier, embeddings, content[examples["image_id"]])
    background_concepts = _concept_probabilities(classifier, embeddings, background)
    predicted = class_indices(classifier.classes, examples["predicted"])
    explained = _explain(classifier, concepts, background_concepts, predicted, parameters, seed)
    values = [value for task in classifier.concepts for value in task.values]
    owners = [player for player, columns in enumerate(players.values()) for _ in columns]
    return (
        identity(examples)
        | explained
        | {
            "unit": np.array(parameters.concepts.output),
            "players": np.array(list(players), dtype=str),
            "concepts": concepts.numpy(),
            "concept_value": np.array(values, dtype=str),
            "concept_player": np.array(owners, dtype=int),
        }
    )


def intervene(
    classifier: GlassHeads,
    embeddings: Embeddings,
    samples: pd.DataFrame,
    shapley: Arrays,
    parameters: ExplainParams,
    seed: int,
) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Return how decisions on the test split change when concepts are set by hand.

    The first result holds accuracies as `{name: {value, low, high, n}}`, where k is a number of subtasks, from 00:
        intervention/uncertainty/<k>: with k subtasks corrected, in order of falling entropy;
        intervention/random/<k>: with k subtasks corrected in random order, averaged over orders (intervals cover the
            variation over images, not over orders);
        intervention/<order>/mean: the mean over all k;
        known_concepts/<k>: with k subtasks known and the others at their train mean, by falling mean |Shapley value|;
            `added` names the subtask that k adds.
    The second is the table of `measure_flips`.

    Raises ArtifactError if `embeddings` are not of `samples`, or if `samples` lack answers to the subtasks.
    """
    subtasks = classifier.concepts
    test = samples[samples["split"] == "test"]
    train = samples.loc[samples["split"] == "train", "content_hash"]
    concepts = _concept_probabilities(classifier, embeddings, test["content_hash"])
    known = _concept_probabilities(classifier, embeddings, train)
    answers, labels = true_answers(subtasks, test), class_indices(classifier.classes, test["label"])
    order, inputs = rank_subtasks(subtasks, shapley), (classifier, concepts, answers, labels)
    draws = range(parameters.concepts.random_orders)
    seeds = [stream_seed(seed, "explain", "orders", draw) for draw in draws]
    random = [intervention_curve(*inputs, "random", order_seed) for order_seed in seeds]
    curves: Curves = {  # how often each image is classified correctly with 0, 1, … subtasks corrected or known
        "intervention/uncertainty": intervention_curve(*inputs, "uncertainty"),
        "intervention/random": np.mean(random, axis=0),
        "known_concepts": known_concepts_curve(classifier, concepts, known, labels, order),
    }
    measures = _measure_curves(curves, parameters.n_resamples, seed)
    for step, task in enumerate(order, start=1):
        measures[f"known_concepts/{step:02d}"]["added"] = subtasks[task].name
    flips = measure_flips(classifier, classifier.classes, concepts, parameters.n_resamples, seed)
    return measures, flips


def _explain(
    classifier: GlassHeads,
    concepts: Float[Tensor, "n c"],
    background: Float[Tensor, "b c"],
    predicted: Int[Tensor, " n"],
    parameters: ExplainParams,
    seed: int,
) -> Arrays:
    """Return the arrays of `_attributed`; with the exact engine, Shapley values are the row sums of interactions."""
    players, output = parameters.concepts.players, parameters.concepts.output
    game = concept_game(classifier, concepts, background, predicted, players, output)
    if parameters.engine == "exact" and len(game.groups) <= MAX_EXACT_PLAYERS:
        pairs = shapley_interactions(game)
        whole = replace(pairs, values=pairs.values.sum(axis=2))
        return _attributed(whole) | {"interactions": pairs.values}
    coalitions = parameters.max_coalitions, stream_seed(seed, "explain", "coalitions")
    return _attributed(shapley_values(game, parameters.engine, *coalitions))


def _attributed(explained: Attribution) -> Arrays:
    arrays = {"values": explained.values, "base": explained.base, "output": explained.output}
    if isinstance(explained, SampledAttribution):
        arrays["standard_error"] = explained.standard_error
    return arrays


@torch.no_grad()
def _concept_probabilities(
    classifier: GlassHeads, embeddings: Embeddings, content_hash: pd.Series
) -> Float[Tensor, "n c"]:
    values = embeddings.of(content_hash, classifier.encoder_key)
    return classifier.concept_probabilities(torch.from_numpy(values))


def true_answers(subtasks: Sequence[Concept], test: pd.DataFrame) -> Int[Tensor, "n s"]:
    """Return the index of each subtask's true value; ArtifactError if `test` lacks some."""
    columns = [f"target/{task.name}" for task in subtasks]
    for task, name in zip(subtasks, columns, strict=True):
        if name not in test or (test[name] >= len(task.values)).any():
            raise ArtifactError(
                f"The samples do not fit the classifier's concept {task.name!r}: it was trained with another taxonomy. "
                "Run its training, calibrate and evaluate pipelines again."
            )
    return torch.from_numpy(np.ascontiguousarray(test[columns], np.int64))


def rank_subtasks(subtasks: Sequence[Concept], shapley: Arrays) -> list[int]:
    """Return subtask indices by falling mean |Shapley value|, where each subtask sums over its players."""
    totals = [
        shapley["values"][:, np.unique(shapley["concept_player"][columns])].sum(axis=1)
        for columns in subtask_columns(subtasks)
    ]
    importance = np.abs(totals).mean(axis=1)
    return np.argsort(-importance, kind="stable").tolist()


def _measure_curves(curves: Curves, n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    statistics = {
        f"{name}/{count:02d}": mean_of(right.astype(float))
        for name, curve in curves.items()
        for count, right in enumerate(curve)
    } | {
        f"{name}/mean": mean_of(curve.mean(axis=0))
        for name, curve in curves.items()
        if name.startswith("intervention/")
    }
    estimates = bootstrap_intervals(statistics, n_resamples, seed)
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def explain_answers(
    classifier: GlassHeads,
    example_images: Arrays,
    examples: pd.DataFrame,
    samples: pd.DataFrame,
    shapley: Arrays,
    parameters: ExplainParams,
    seed: int,
) -> Arrays:
    """Return a pixel map for the most probable value of each concept, for the images that figures show.

    Arrays: image_id (n,); method (), the first of `concepts.maps` that applies, or ""; all (), the number of subtasks;
    subtasks (s,), the `concepts.mapped` of them with the largest mean |Shapley value|, none if no method applies; maps
    (n, s, h, w) float32 of the value's raw logit; answers (n, s), the values; probabilities (n, s), raw; right (n, s),
    whether the answers are true.

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
    maps = np.zeros((len(pixels), len(subtasks), *pixels.shape[2:]), np.float32)
    likeliest = np.zeros((len(pixels), len(subtasks)), int)
    probabilities = np.zeros((len(pixels), len(subtasks)), np.float32)
    with computing_on(classifier, device):
        images = as_images(pixels.to(device))
        budget = parameters.budget.for_images(images, seed)
        for column, task in enumerate(reported(subtasks, "concepts mapped", len(subtasks))):
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
        logger.info("The answers of concepts are not explained by %s: %s", name, reason)
    return ""


def _probabilities(concept: ConceptLogits, images: Tensor, size: int) -> Tensor:
    @torch.no_grad()
    def compute(batch: Tensor) -> Tensor:
        return concept(batch).softmax(dim=1)

    return in_passes(compute, size, images)
