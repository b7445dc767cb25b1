"""Nodes of `train_cnn`. Fits read only `fitting_samples`, the train and validation rows."""

import json
from functools import partial
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from glasshead import __version__
from glasshead.device import Device, choose_device, torch_threads
from glasshead.images.fitting import fitting_digest, labelled_pixels, predict_majority, table_rows
from glasshead.images.pixels import PixelSource, common_side
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.cnn import SMALLEST, Architecture, CNNClassifier, build_cnn
from glasshead.models.inference import flip_tta, logits_of
from glasshead.models.processor import Resampling, resize_and_crop
from glasshead.seeds import stream_seed
from glasshead.training.augment import PRESETS, Augmentation, NamedAugmentation
from glasshead.training.batches import Batches, channel_statistics, choose_batches, evenly_spaced
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.loop import fit
from glasshead.training.params import TrainingParams

WHITENED = 2000 * 32**2  # pixels of train images to which the first, whitening filters are fitted
MEGABYTE = 2**20
SHIFT = 1  # pixels by which test-time augmentation shifts images


class TrainCNNParams(BaseModel, extra="forbid", frozen=True):
    """The network, its input images, and how it is trained."""

    architecture: Architecture = "fast_cnn"
    width: PositiveFloat = 0.25
    image_size: Literal["auto"] | Annotated[int, Field(ge=SMALLEST)] = "auto"
    largest_size: Annotated[int, Field(ge=SMALLEST)] = 64
    resize: Resampling = "bilinear"
    augmentation: NamedAugmentation = PRESETS["baseline"]
    training: TrainingParams = TrainingParams()
    test_time_augmentation: Literal["none", "flip", "flip_and_shift"] = "flip"
    memory_mb: PositiveInt = 4096
    threads: PositiveInt | None = 1
    device: Device = "auto"


def fit_cnn(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    checkpoints: CheckpointFolder,
    parameters: TrainCNNParams,
    seed: int,
) -> tuple[CNNClassifier, pd.DataFrame, pd.DataFrame]:
    """Return the uncalibrated classifier, its training history by epoch, and its log of steps.

    An interrupted training on the same data, parameters and seed continues from `checkpoints`; a finished one is not
    repeated.

    Raises:
        ArtifactError: `fitting_samples` are not rows of `images`, or a checkpoint cannot be written.
        ParameterError: a parameter does not fit the data or this machine.
        TrainingError: the loss is not finite, or one image alone does not fit into memory.
    """
    splits = [fitting_samples[fitting_samples["split"] == name] for name in ("train", "validation")]
    size = parameters.image_size
    if size == "auto":
        rows = table_rows(images, splits[0])
        size = common_side(images, rows, SMALLEST, parameters.largest_size)
    prepare = partial(resize_and_crop, size=size, interpolation=parameters.resize)
    train, validation = (
        choose_batches(
            *labelled_pixels(images, split, prepare),
            budget_bytes=parameters.memory_mb * MEGABYTE * len(split) // len(fitting_samples),
            device=choose_device(parameters.device, "train_cnn.device"),
        )
        for split in splits
    )
    with torch_threads(parameters.threads):
        classifier = _build(images, fitting_samples, size, train, parameters, seed)
        history = fit(
            classifier,
            train,
            validation,
            parameters.training,
            stream_seed(seed, "train_cnn"),
            device=parameters.device,
            checkpoints=checkpoints,
            identity=json.dumps(classifier.describe(), sort_keys=True),
            augmentation=Augmentation(parameters.augmentation, len(images.classes)),
        )
    return classifier, pd.DataFrame(history.epochs), pd.DataFrame(history.steps)


def predict_baselines(
    classifier: Classifier,
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parameters: TrainCNNParams,
) -> pd.DataFrame:
    """Return each baseline's predictions on images outside the fit: image_id, and a column for each baseline.

    majority: the most frequent train class. tta: the classifier with test-time augmentation, if this is switched on.
    Raises ArtifactError if `fitting_samples` are not rows of `images`.
    """
    baselines = predict_majority(images, fitting_samples)
    if parameters.test_time_augmentation == "none" or baselines.empty:
        return baselines
    rest = np.setdiff1d(np.arange(len(images)), table_rows(images, fitting_samples))
    shift = SHIFT if parameters.test_time_augmentation == "flip_and_shift" else 0
    source = PixelSource(images, rest, classifier.prepare)
    device = choose_device(parameters.device, "train_cnn.device")
    logits = logits_of(classifier, source, len(rest), device, flip_tta(classifier, shift))
    return baselines.assign(tta=np.array(classifier.classes, dtype=object)[logits.argmax(axis=1)])


def _build(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    size: int,
    train: Batches,
    parameters: TrainCNNParams,
    seed: int,
) -> CNNClassifier:
    """Return the untrained classifier; normalisation and whitening filters are computed from train images."""
    mean, std = channel_statistics(train)
    classifier = build_cnn(
        parameters.architecture,
        images.classes,
        size,
        mean=mean,
        std=std,
        provenance={
            "data": images.digest(),
            "fitting_rows": fitting_digest(fitting_samples),
            "augmentation": parameters.augmentation.model_dump(mode="json", exclude_defaults=True),
            "glasshead": __version__,
            "seed": seed,
        },
        seed=stream_seed(seed, "initial_weights"),
        width=parameters.width,
        resize=parameters.resize,
    )
    chosen = evenly_spaced(len(train), max(1, WHITENED // size**2))
    classifier.whiten(as_images(train.take(chosen).cpu()))
    return classifier
