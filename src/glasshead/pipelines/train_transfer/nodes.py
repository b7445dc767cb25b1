"""Nodes of `train_transfer`: pretrain a parent if asked to, and fine-tune. Fits read only `fitting_samples`."""

import copy
import json
import logging
from typing import Any

import pandas as pd
import torch

from glasshead import __version__
from glasshead.device import choose_device, torch_threads
from glasshead.images.drawn import DrawnScenes
from glasshead.images.fitting import fitting_digest, labelled_pixels, table_rows
from glasshead.images.pixels import common_side
from glasshead.images.scenes import CLASSES, Split
from glasshead.images.table import ImageTable
from glasshead.models.backbone import BackboneParams, choose_backbone
from glasshead.models.pretrained import build_transfer
from glasshead.models.probe import STRENGTHS, Labelled, fit_linear_probe
from glasshead.models.store import ClassifierStore
from glasshead.models.transfer import TransferClassifier
from glasshead.pipelines.train_transfer.params import AUTO, TrainTransferParams
from glasshead.progress import reported
from glasshead.seeds import stream_seed
from glasshead.training.augment import Augmentation
from glasshead.training.batches import Batches, StreamedBatches, choose_batches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.loop import fit
from glasshead.training.phases import build_phases, without_batch_norms

logger = logging.getLogger(__name__)

SPLITS: tuple[Split, Split] = ("train", "test")

OWN = "own"
PROBE_BATCH = 8  # images in one pass


def pretrain_parent(
    transfer_parents: ClassifierStore,
    images: ImageTable,
    parameters: TrainTransferParams,
    seed: int,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return where the backbone's weights come from, and their training history, as `train_parent` does.

    If `network.pretrained` is auto, it is imagenet-lite0 for images that the backbone `auto` would read with it, and
    own for smaller ones.
    """
    network = parameters.network
    if network.pretrained == AUTO:
        chosen = choose_backbone(BackboneParams(name=AUTO), images).name
        chosen = OWN if chosen == "nano-clip" else chosen
        ignored = "" if chosen == OWN else "; network.architecture and network.width are not used"
        logger.info("train_transfer.network.pretrained=auto is %s%s", chosen, ignored)
        network = network.model_copy(update={"pretrained": chosen})
    return train_parent(transfer_parents, parameters.model_copy(update={"network": network}), seed)


def train_parent(
    transfer_parents: ClassifierStore, parameters: TrainTransferParams, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return where the backbone's weights come from, as {"pretrained": …}, and the training history of these weights.

    If `network.pretrained` is own, the parent is the Classifier in `transfer_parents` that is named after the
    architecture. It is trained here on scenes; an interrupted training continues, and a finished one is not repeated.
    Any other value is passed on, and nothing is trained.

    Raises:
        ArtifactError: a checkpoint or the Classifier cannot be written.
        ParameterError: parameters do not fit each other or this machine.
        TrainingError: the loss is not finite, or one image alone does not fit into memory.
    """
    network = parameters.network
    if network.pretrained != OWN:
        return {"pretrained": network.pretrained}, pd.DataFrame({"epoch": pd.Series(dtype=int)})
    recipe, name = parameters.parent, network.architecture
    number = stream_seed(seed, "transfer_parent")
    train, validation = (
        StreamedBatches(drawn, drawn.labels)
        for drawn in (DrawnScenes(recipe.scenes, number, split) for split in SPLITS)
    )
    parent = build_transfer(
        network.model_copy(update={"pretrained": "none", "interpolation": "bilinear"}),
        CLASSES,
        recipe.scenes.size,
        {
            "data": {"scenes": recipe.scenes.model_dump(mode="json")},
            "glasshead": __version__,
            "seed": seed,
        },
        number,
    )
    with torch_threads(parameters.threads):
        history = fit(
            parent,
            train,
            validation,
            recipe.training,
            number,
            device=parameters.device,
            checkpoints=CheckpointFolder(transfer_parents.path / name / "checkpoints"),
            identity=json.dumps([parent.describe(), recipe.augmentation.model_dump(mode="json")]),
            augmentation=Augmentation(recipe.augmentation, len(CLASSES)),
        )
    transfer_parents.save(name, parent)
    return {"pretrained": str(transfer_parents.folder(name))}, pd.DataFrame(history.epochs)


def fit_transfer(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    parent: dict[str, Any],
    checkpoints: CheckpointFolder,
    parameters: TrainTransferParams,
    seed: int,
) -> tuple[TransferClassifier, pd.DataFrame, pd.DataFrame]:
    """Return the uncalibrated classifier, its training history by epoch, and its log of steps.

    The backbone's weights come from `parent`. An interrupted training on the same data, parameters and seed continues
    from `checkpoints`; a finished one is not repeated.

    Raises:
        ArtifactError: `fitting_samples` are not rows of `images`, or `parent` names no stored Classifier.
        BackboneError: ImageNet's weights are not available.
        ParameterError: parameters do not fit each other, the data or this machine.
        TrainingError: the loss is not finite, or one image alone does not fit into memory.
    """
    recipe = parameters.recipe_for(parent["pretrained"])
    splits = [fitting_samples[fitting_samples["split"] == name] for name in ("train", "validation")]
    size = parameters.image_size
    if size == "auto":
        size = common_side(images, table_rows(images, splits[0]), 1, parameters.largest_size)
    if recipe is not parameters:
        logger.info("The recipe is train_transfer.photographs: %s epochs", recipe.training.epochs)
    classifier = _build(images, fitting_samples, size, parent, parameters, seed)
    device = choose_device(parameters.device, "train_transfer.device")
    train, validation = (
        choose_batches(
            *labelled_pixels(images, split, classifier.prepare),
            budget_bytes=parameters.memory_mb * 2**20 * len(split) // len(fitting_samples),
            device=device,
        )
        for split in splits
    )
    stages, head = classifier.stages(), classifier.head_names()
    if recipe.strategy.freeze_norms:
        stages = without_batch_norms(classifier, stages)
    with torch_threads(recipe.threads):
        if recipe.strategy.probe_first:
            _begin_as_probe(classifier, train, validation, device)
        before = copy.deepcopy(classifier.state_dict()) if recipe.strategy.mixing < 1 else {}
        history = fit(
            classifier,
            train,
            validation,
            recipe.training,
            stream_seed(seed, "train_transfer"),
            device=parameters.device,
            checkpoints=checkpoints,
            phases=build_phases(recipe.strategy, recipe.training.epochs, stages, head),
            identity=json.dumps(classifier.describe(), sort_keys=True),
            augmentation=Augmentation(recipe.augmentation, len(images.classes)),
        )
    trained = classifier.state_dict()
    for name, value in before.items():
        if value.is_floating_point():
            value.lerp_(trained[name], recipe.strategy.mixing)
    classifier.load_state_dict(trained | before)
    return classifier, pd.DataFrame(history.epochs), pd.DataFrame(history.steps)


def _begin_as_probe(
    classifier: TransferClassifier, train: Batches, validation: Batches, device: str
) -> None:
    """Set the head to the linear probe of the features that the network has before it is trained."""
    network = classifier.eval().to(device).to(memory_format=torch.channels_last)

    def embed(batches: Batches) -> Labelled:
        rows = torch.arange(len(batches)).split(PROBE_BATCH)
        parts = reported(batches.stream(rows), "batches embedded for the head", len(rows))
        features = torch.cat([network.features(part.to(device).float() / 255) for part in parts])
        return features.cpu().double().numpy(), batches.labels.numpy()

    probe = fit_linear_probe(embed(train), embed(validation), STRENGTHS)
    logger.info(
        "The head begins as a linear probe: validation accuracy %.3f", probe.validation_accuracy
    )
    weight, bias = probe.as_layer()
    classifier.cpu().set_head(torch.from_numpy(weight), torch.from_numpy(bias))


def _build(
    images: ImageTable,
    fitting_samples: pd.DataFrame,
    size: int,
    parent: dict[str, Any],
    parameters: TrainTransferParams,
    seed: int,
) -> TransferClassifier:
    """Return the classifier with the backbone of `parent` and a new head."""
    recipe = parameters.recipe_for(parent["pretrained"])
    provenance = {
        "data": images.digest(),
        "fitting_rows": fitting_digest(fitting_samples),
        "augmentation": recipe.augmentation.model_dump(mode="json", exclude_defaults=True),
        "strategy": recipe.strategy.model_dump(mode="json"),
        "glasshead": __version__,
        "seed": seed,
    }
    network = parameters.network.model_copy(update=parent)
    return build_transfer(network, images.classes, size, provenance, seed)
