"""Nodes of `train_transfer`. Fits see only `fitting_samples`, the train and validation rows."""

import json
from typing import Any

import pandas as pd

from glasshead import __version__
from glasshead.device import choose_device, torch_threads
from glasshead.images.fitting import fitting_digest, labelled_pixels, table_rows
from glasshead.images.pixels import common_side
from glasshead.images.table import ImageTable
from glasshead.models.pretrained import build_transfer
from glasshead.models.transfer import TransferClassifier
from glasshead.pipelines.train_transfer.params import TrainTransferParams
from glasshead.seeds import stream_seed
from glasshead.training.augment import Augmentation
from glasshead.training.batches import choose_batches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.loop import fit
from glasshead.training.phases import build_phases

Fitted = tuple[TransferClassifier, pd.DataFrame, pd.DataFrame]


def fit_transfer(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parent: dict[str, Any],
    checkpoints: CheckpointFolder,
    parameters: TrainTransferParams,
    seed: int,
) -> Fitted:
    """Return the uncalibrated classifier, its training history by epoch, and its log of steps.

    The backbone's weights come from `parent`. A stopped training of the same data, parameters and seed continues from
    `checkpoints`; a finished one is not repeated.

    Raises:
        ArtifactError: `fitting_samples` are not of `images`, or `parent` names no Classifier.
        BackboneError: ImageNet's weights are not available.
        ParameterError: parameters that do not fit each other, the data or this machine.
        TrainingError: the loss is not finite, or one image alone does not fit into memory.
    """
    splits = [fitting_samples[fitting_samples["split"] == name] for name in ("train", "validation")]
    size = parameters.image_size
    if size == "auto":
        size = common_side(images, table_rows(images, splits[0]), 1, parameters.largest_size)
    classifier = _build(images, fitting_samples, size, parent, parameters, seed)
    train, validation = (
        choose_batches(
            *labelled_pixels(images, split, classifier.prepare),
            budget_bytes=parameters.memory_mb * 2**20 * len(split) // len(fitting_samples),
            device=choose_device(parameters.device, "train_transfer.device"),
        )
        for split in splits
    )
    stages, head = classifier.stages(), classifier.head_names()
    with torch_threads(parameters.threads):
        history = fit(
            classifier,
            train,
            validation,
            parameters.training,
            stream_seed(seed, "train_transfer"),
            device=parameters.device,
            checkpoints=checkpoints,
            phases=build_phases(parameters.strategy, parameters.training.epochs, stages, head),
            identity=json.dumps(classifier.describe(), sort_keys=True),
            augmentation=Augmentation(parameters.augmentation, len(images.classes)),
        )
    return classifier, pd.DataFrame(history.epochs), pd.DataFrame(history.steps)


def _build(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    size: int,
    parent: dict[str, Any],
    parameters: TrainTransferParams,
    seed: int,
) -> TransferClassifier:
    """Return the classifier with the backbone of `parent` and a new head."""
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(fitting_samples),
        "augmentation": parameters.augmentation.model_dump(mode="json", exclude_defaults=True),
        "strategy": parameters.strategy.strategy,
        "glasshead": __version__,
        "seed": seed,
    }
    network = parameters.network.model_copy(update=parent)
    return build_transfer(network, images.classes, size, provenance, seed)
