"""The node that pretrains a network, if the parameters ask for an own parent."""

import json
from typing import Any

import pandas as pd

from glasshead import __version__
from glasshead.device import torch_threads
from glasshead.images.drawn import DrawnScenes
from glasshead.images.scenes import CLASSES, Split
from glasshead.models.pretrained import build_transfer
from glasshead.models.store import ClassifierStore
from glasshead.pipelines.train_transfer.params import TrainTransferParams
from glasshead.seeds import stream_seed
from glasshead.training.augment import Augmentation
from glasshead.training.batches import StreamedBatches
from glasshead.training.checkpoint import CheckpointFolder
from glasshead.training.loop import fit

SPLITS: tuple[Split, Split] = ("train", "test")

OWN = "own"
Parent = tuple[dict[str, Any], pd.DataFrame]


def pretrain_parent(
    transfer_parents: ClassifierStore, parameters: TrainTransferParams, seed: int
) -> Parent:
    """Return where the backbone's weights come from, as {"pretrained": …}, and the training history of these weights.

    If `network.pretrained` is own, the parent is the Classifier in `transfer_parents` named after the architecture. It
    is trained on scenes, continuing a stopped training; a finished one is not trained again. Any other value is passed
    on, and nothing is trained.

    Raises:
        ArtifactError: a checkpoint or the Classifier cannot be written.
        ParameterError: parameters that do not fit each other or this machine.
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
