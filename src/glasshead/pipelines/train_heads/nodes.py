"""Nodes of `train_heads`. Fits read only `fitting_samples`, the train and validation rows."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from glasshead import __version__
from glasshead.device import torch_threads
from glasshead.embedding.store import Embeddings
from glasshead.errors import BackboneError, ParameterError
from glasshead.images.fitting import fitting_digest
from glasshead.images.table import ImageTable
from glasshead.images.taxonomy import Taxonomy, class_prompts
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.classifier import Concept
from glasshead.models.clip import load_encoder_with_key
from glasshead.models.heads import Bottleneck, GlassHeads
from glasshead.models.probe import STRENGTHS, LinearProbe, fit_linear_probe
from glasshead.models.text import has_text_tower, load_text_encoder, zero_shot_logits
from glasshead.seeds import generator, seed_everything, stream_seed
from glasshead.training.bottleneck import BottleneckData, BottleneckTraining, train_bottleneck

logger = logging.getLogger(__name__)


class TrainHeadsParams(BaseModel, extra="forbid", frozen=True):
    """Layer widths and training of the bottleneck and of its baselines."""

    hidden: PositiveInt = 64
    meta_hidden: PositiveInt = 512
    training: BottleneckTraining = BottleneckTraining()
    probe_strengths: tuple[PositiveFloat, ...] = Field(default=STRENGTHS, min_length=1)
    random_concept_seeds: PositiveInt = 1


def fit_heads(
    embeddings: Embeddings,
    fitting_samples: pd.DataFrame,
    images: ImageTable,
    taxonomy: dict[str, Any],
    backbone: BackboneParams,
    parameters: TrainHeadsParams,
    seed: int,
) -> tuple[GlassHeads, pd.DataFrame]:
    """Return the uncalibrated classifier and its training history, a row for each epoch.

    Raises:
        ArtifactError: `embeddings` are not of `fitting_samples`, or not from this backbone.
        ParameterError: `embeddings` are not one vector for each image.
        TrainingError: the loss is not finite.
    """
    shape = embeddings.values.shape[1:]
    if len(shape) != 1:
        raise ParameterError(
            f"Heads read one vector for each image, but these embeddings are {' × '.join(map(str, shape))}. Set "
            "`embed.output` to projected or pooled, and run `kedro run --pipelines=embed` again."
        )
    parsed = Taxonomy.model_validate(taxonomy)
    encoder = load_encoder_with_key(choose_backbone(backbone, images), embeddings.encoder_key)
    train, validation = _rows(embeddings, encoder.key, fitting_samples, parsed)
    widths = tuple(len(task.values) for task in parsed.subtasks)
    bottleneck, history = _fit(train, validation, widths, len(images.classes), parameters, seed)
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(fitting_samples),
        "backbone": encoder.backbone.name,
        "backbone_revision": encoder.backbone.revision,
        "taxonomy": parsed.name,
        "glasshead": __version__,
        "seed": seed,
    }
    concepts = tuple(Concept(task.name, task.values) for task in parsed.subtasks)
    classifier = GlassHeads(encoder, bottleneck, images.classes, concepts, provenance)
    return classifier, pd.DataFrame(history)


def predict_logits(
    classifier: GlassHeads, embeddings: Embeddings, samples: pd.DataFrame
) -> pd.DataFrame:
    """Return raw logits of the classes and subtasks for all rows, with labels and targets.

    Raises ArtifactError if `embeddings` are not of `samples`, or not from the classifier's backbone.
    """
    values = torch.from_numpy(embeddings.of(samples["content_hash"], classifier.encoder_key))
    with torch.inference_mode():
        concept_logits = classifier.concept_logits(values)
        logits = classifier.logits_from_concepts(
            classifier.bottleneck.to_probabilities(concept_logits)
        )
    names = [f"logit/{name}" for name in classifier.classes]
    names += [
        f"concept_logit/{concept.name}/{value}"
        for concept in classifier.concepts
        for value in concept.values
    ]
    table = pd.DataFrame(
        torch.cat([logits, concept_logits], dim=-1).numpy(), columns=names, index=samples.index
    )
    targets = [f"target/{concept.name}" for concept in classifier.concepts]
    return pd.concat([samples[["image_id", "split", "label", *targets]], table], axis=1)


def predict_baselines(
    classifier: GlassHeads,
    embeddings: Embeddings,
    fitting_samples: pd.DataFrame,
    taxonomy: dict[str, Any],
    parameters: TrainHeadsParams,
    seed: int,
) -> pd.DataFrame:
    """Return each baseline's predictions for every image: image_id and a column of class names for each baseline.

    majority: the most frequent train class. linear_probe: logistic regression on the same embeddings.
    hard_concepts: the classifier's meta-learner on arg-max concepts. random_concepts/<i>: a bottleneck of the same
    size, trained on random answers for each class instead of the taxonomy's. zero_shot: the class whose prompt is
    nearest to the image's embedding; if this column is missing, the log says why. Raises the errors of `fit_heads`.
    """
    parsed = Taxonomy.model_validate(taxonomy)
    train, validation = _rows(embeddings, classifier.encoder_key, fitting_samples, parsed)
    everything = torch.from_numpy(embeddings.values[:])
    probe = _fit_probe(train, validation, parameters)
    predicted = {
        "majority": np.full(len(embeddings), int(train.labels.bincount().argmax())),
        "linear_probe": probe.predict(embeddings.values[:]),
        "hard_concepts": _predict_hard(classifier, everything),
    }
    widths = tuple(len(task.values) for task in parsed.subtasks)
    for index in range(parameters.random_concept_seeds):
        codes = random_codes(
            len(classifier.classes), widths, generator(seed, "random_concepts", index)
        )
        coded = [
            BottleneckData(own.embeddings, codes[own.labels], own.labels)
            for own in (train, validation)
        ]
        number = stream_seed(seed, "random_concepts", index) % 2**31
        logger.info(
            "Baseline: random concepts, %d of %d", index + 1, parameters.random_concept_seeds
        )
        bottleneck, _ = _fit(
            coded[0], coded[1], widths, len(classifier.classes), parameters, number
        )
        with torch.inference_mode():
            predicted[f"random_concepts/{index}"] = bottleneck(everything).argmax(dim=-1).numpy()
    if (zero_shot := _predict_zero_shot(classifier, everything)) is not None:
        predicted["zero_shot"] = zero_shot
    classes = np.array(classifier.classes, dtype=object)
    return pd.DataFrame(
        {"image_id": embeddings.image_id}
        | {name: classes[rows] for name, rows in predicted.items()}
    )


def random_codes(classes: int, widths: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Return random answers `(classes, subtasks)`; with enough classes, each subtask uses all of its answers."""
    columns = [rng.permutation(np.resize(np.arange(width), classes)) for width in widths]
    return torch.from_numpy(np.stack(columns, axis=1))


def _fit(
    train: BottleneckData,
    validation: BottleneckData,
    widths: tuple[int, ...],
    classes: int,
    parameters: TrainHeadsParams,
    seed: int,
) -> tuple[Bottleneck, list[dict[str, float | str]]]:
    seed_everything(seed)
    dimension = train.embeddings.shape[1]
    bottleneck = Bottleneck(dimension, widths, classes, parameters.hidden, parameters.meta_hidden)
    bottleneck.standardise_by(train.embeddings)
    with torch_threads(
        1
    ):  # steps are short; on a busy machine, waiting for other threads would take longer
        history = train_bottleneck(bottleneck, train, validation, parameters.training, seed)
    return bottleneck, history


def _fit_probe(
    train: BottleneckData, validation: BottleneckData, parameters: TrainHeadsParams
) -> LinearProbe:
    probe = fit_linear_probe(
        (train.embeddings.numpy(), train.labels.numpy()),
        (validation.embeddings.numpy(), validation.labels.numpy()),
        parameters.probe_strengths,
    )
    logger.info(
        "Linear probe: C = %g, validation accuracy %.3f", probe.strength, probe.validation_accuracy
    )
    return probe


def _predict_hard(classifier: GlassHeads, embeddings: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        hard = classifier.bottleneck.harden(classifier.concept_probabilities(embeddings))
        predicted: np.ndarray = classifier.logits_from_concepts(hard).argmax(dim=-1).numpy()
    return predicted


def _predict_zero_shot(classifier: GlassHeads, embeddings: torch.Tensor) -> np.ndarray | None:
    """Return the class whose prompt has the largest cosine with each embedding; None if prompts cannot be embedded.

    Radford et al. 2021, arXiv:2103.00020, section 3.1: nothing is trained on these images.
    """
    encoder, reason = classifier.encoder, ""
    if encoder.output != "projected":
        reason = (
            f"text embeddings share the space of `embed.output` projected, not of {encoder.output}"
        )
    elif not has_text_tower(encoder.backbone):
        reason = f"the backbone {encoder.backbone.name!r} has no text tower"
    else:
        try:
            texts = load_text_encoder(encoder.backbone)(
                [prompt.text for prompt in class_prompts(classifier.classes)]
            )
            predicted: np.ndarray = zero_shot_logits(embeddings, texts, 1).argmax(dim=-1).numpy()
            return predicted
        except (BackboneError, ParameterError) as error:  # no tokenizer, or a class name too long
            reason = str(error)
    logger.warning("No zero-shot baseline: %s", reason)
    return None


def _rows(
    embeddings: Embeddings, encoder_key: str, fitting_samples: pd.DataFrame, taxonomy: Taxonomy
) -> tuple[BottleneckData, BottleneckData]:
    targets = [f"target/{task.name}" for task in taxonomy.subtasks]

    def data_of(split: str) -> BottleneckData:
        chosen = fitting_samples[fitting_samples["split"] == split]
        return BottleneckData(
            torch.from_numpy(embeddings.of(chosen["content_hash"], encoder_key)),
            torch.from_numpy(chosen[targets].to_numpy(np.int64, copy=True)),
            torch.from_numpy(chosen["class_index"].to_numpy(np.int64, copy=True)),
        )

    return data_of("train"), data_of("validation")
