"""Nodes of `explain`: choose test images, explain their predicted classes, measure the explanations."""

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from glasshead.embedding.store import Embeddings
from glasshead.explainers.attribution import Attribution
from glasshead.explainers.budget import Budget
from glasshead.explainers.concepts import Bottleneck, concept_shapley
from glasshead.explainers.evidence import Measure, completeness
from glasshead.explainers.examples import choose_balanced
from glasshead.explainers.gradients import integrated_gradients
from glasshead.images.table import ImageTable, check_predictions
from glasshead.pipelines.explain.params import BASELINES, ExplainParams
from glasshead.seeds import generator, stream_seed

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
GAP_WARNING = 0.05  # share of the explained change of a logit


class Explainable(Bottleneck, Protocol):
    """What explanations ask of a classifier."""

    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def encoder_key(self) -> str: ...  # asked for only where there are concepts
    def prepare(self, pictures: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]: ...
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]: ...


def choose_examples(
    images: ImageTable,
    samples: pd.DataFrame,
    predictions: pd.DataFrame,
    parameters: ExplainParams,
    seed: int,
) -> pd.DataFrame:
    """Return test rows to explain: image_id, label, predicted, confidence, correct; the wrong ones first.

    Raises ArtifactError if `predictions` are of other samples or images than those there are now.
    """
    check_predictions(images, samples, predictions)
    test = predictions[predictions["split"] == "test"]
    test = test[["image_id", "label", "predicted", "confidence"]]
    chosen = choose_balanced(test, parameters.images, generator(seed, "explain", "examples"))
    return chosen.sort_values(["correct", "label", "image_id"], ignore_index=True)


def prepare_examples(classifier: Explainable, images: ImageTable, examples: pd.DataFrame) -> Arrays:
    """Return the images as the classifier sees them: image_id (n,), pixels (n, 3, h, w) uint8."""
    rows = pd.Index(images.frame()["image_id"]).get_indexer(examples["image_id"])
    pixels = classifier.prepare([images.pil(int(row)) for row in rows])
    return {"image_id": _strings(examples["image_id"]), "pixels": pixels.numpy()}


def explain_concepts(
    classifier: Explainable,
    embeddings: Embeddings,
    samples: pd.DataFrame,
    examples: pd.DataFrame,
    parameters: ExplainParams,
    seed: int,
) -> Arrays:
    """Return the Shapley values of each concept subtask for the calibrated probability of the predicted class.

    Arrays: image_id, predicted (n,); players (p,) the subtasks; values (n, p) in probability, base and output (n,);
    concepts (n, c) probabilities of the concept values, named by concept_value (c,) of the player concept_player (c,).
    p and c are 0 for a classifier without concepts. What an absent subtask says is drawn from train rows.

    Raises ArtifactError if `embeddings` are not those of `samples` by the classifier's backbone.
    """
    n, subtasks = len(examples), classifier.concepts
    if subtasks:
        content = samples.set_index("image_id")["content_hash"]
        train = content[(samples["split"] == "train").to_numpy()]
        draw = generator(seed, "explain", "background")
        background = train.sample(min(parameters.background, len(train)), random_state=draw)
        concepts = _concept_probabilities(classifier, embeddings, content[examples["image_id"]])
        explained = concept_shapley(
            classifier,
            concepts,
            _concept_probabilities(classifier, embeddings, background),
            _class_indices(classifier, examples["predicted"]),
            parameters.engine,
            parameters.max_coalitions,
            stream_seed(seed, "explain", "coalitions"),
        )
    else:
        concepts = torch.zeros(n, 0)
        explained = Attribution(np.zeros((n, 0)), base=np.zeros(n), output=np.zeros(n))
    return _identity(examples) | {
        "players": np.array([subtask.name for subtask in subtasks], dtype=str),
        "values": explained.values,
        "base": explained.base,
        "output": explained.output,
        "concepts": concepts.numpy(),
        "concept_value": np.array([value for task in subtasks for value in task.values], dtype=str),
        "concept_player": np.array(
            [k for k, task in enumerate(subtasks) for _ in task.values], dtype=int
        ),
    }


def explain_pixels(
    classifier: Explainable,
    example_images: Arrays,
    examples: pd.DataFrame,
    parameters: ExplainParams,
) -> Arrays:
    """Return the Integrated Gradients of the predicted class's raw logit, through the whole classifier.

    Arrays: image_id, predicted (n,); integrated_gradients (n, 3, h, w) float32 in logits; integrated_gradients/base
    and /output (n,), the logit of the baseline image and of the image.
    """
    explained = integrated_gradients(
        classifier,
        torch.from_numpy(example_images["pixels"]).float() / 255,
        _class_indices(classifier, examples["predicted"]),
        Budget(
            baseline=BASELINES[parameters.baseline],
            steps=parameters.steps,
            images_per_pass=parameters.internal_batch_size,
        ),
    )
    incomplete = int((explained.relative_gap > GAP_WARNING).sum())
    if incomplete:
        logger.warning(
            "Integrated Gradients miss more than %.0f %% of the logit they explain, for %d of %d images: "
            "raise explain.steps above %d.",
            100 * GAP_WARNING, incomplete, len(examples), parameters.steps,
        )  # fmt: skip
    return _identity(examples) | {
        "integrated_gradients": explained.values.astype(np.float32),
        "integrated_gradients/base": explained.base,
        "integrated_gradients/output": explained.output,
    }


def measure_explanations(
    parameters: ExplainParams, seed: int, attributions: Arrays, shapley: Arrays | None = None
) -> dict[str, dict[str, Measure]]:
    """Return method, measure, {value, low, high, better}; Shapley values where there are concepts to have any."""
    methods = {
        "integrated_gradients": Attribution(
            attributions["integrated_gradients"],
            attributions["integrated_gradients/base"],
            attributions["integrated_gradients/output"],
        )
    }
    if shapley is not None and len(shapley["players"]):
        methods["shapley"] = Attribution(shapley["values"], shapley["base"], shapley["output"])
    return {
        name: completeness(explained, parameters.n_resamples, seed)
        for name, explained in methods.items()
    }


@torch.no_grad()
def _concept_probabilities(
    classifier: Explainable, embeddings: Embeddings, content_hash: pd.Series
) -> Float[Tensor, "n c"]:
    values = embeddings.of(content_hash, classifier.encoder_key)
    return classifier.concept_probabilities(torch.from_numpy(values))


def _class_indices(classifier: Explainable, names: pd.Series) -> Int[Tensor, " n"]:
    classes = list(classifier.classes)
    return torch.tensor([classes.index(name) for name in names])


def _identity(examples: pd.DataFrame) -> Arrays:
    return {name: _strings(examples[name]) for name in ("image_id", "predicted")}


def _strings(column: pd.Series) -> NDArray[np.str_]:
    return np.array(column, dtype=str)
