"""Transfer learning: a network whose backbone comes from ImageNet or from an earlier Classifier, with a new head."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, PositiveInt

from glasshead.errors import ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.imagenet import PretrainedWeights, load_imagenet, untrained
from glasshead.models.interpolation import Interpolation
from glasshead.models.stages import Architecture
from glasshead.models.transfer import TransferClassifier
from glasshead.seeds import stream_seed

__all__ = ["PretrainedParams", "TransferClassifier", "build_transfer"]


class PretrainedParams(BaseModel, extra="forbid", frozen=True):
    """Which network, where its backbone's weights come from, and the pixels that it reads.

    `pretrained`: imagenet, none, or the folder of a Classifier of kind transfer and this architecture.
    `backbone_size`: side in pixels that images are resized to; with the interpolation none, the network reads them at
    their own size, whatever this is.
    """

    architecture: Architecture = "resnet18"
    pretrained: str = "imagenet"
    backbone_size: PositiveInt = 224
    interpolation: Interpolation = "bilinear"


def build_transfer(
    params: PretrainedParams,
    classes: tuple[str, ...],
    input_size: int,
    provenance: dict[str, Any],
    seed: int,
) -> TransferClassifier:
    """Return a network with the backbone that `params` asks for and a new head, drawn from `seed` alone.

    Where the backbone comes from is added to the provenance.

    Raises:
        ParameterError: a size that the architecture cannot read, or a folder of another kind or architecture.
        BackboneError: ImageNet's weights cannot be had.
        ArtifactError: no Classifier in the folder, or a damaged one.
    """
    weights = _find_weights(params)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "transfer"))
        classifier = TransferClassifier(
            classes,
            input_size,
            provenance | {"pretrained": weights.source},
            architecture=params.architecture,
            backbone_size=params.backbone_size,
            interpolation=params.interpolation,
            mean=weights.mean,
            std=weights.std,
        )
    if weights.state:
        classifier.take_backbone(dict(weights.state))
    return classifier


def _find_weights(params: PretrainedParams) -> PretrainedWeights:
    if params.pretrained == "imagenet":
        return load_imagenet(params.architecture)
    if params.pretrained == "none":
        return untrained(params.architecture)
    return _load_parent(Path(params.pretrained).expanduser(), params.architecture)


def _load_parent(folder: Path, architecture: Architecture) -> PretrainedWeights:
    parent = Classifier.load(folder)
    found = parent.architecture if isinstance(parent, TransferClassifier) else f"kind {parent.kind}"
    if not isinstance(parent, TransferClassifier) or found != architecture:
        raise ParameterError(
            f"The Classifier in {folder} is of {found}, and a backbone of {architecture} is wanted. Set `pretrained` "
            f"to the folder of a Classifier of kind transfer and architecture {architecture}, or set `architecture` "
            "to its."
        )
    digest = json.loads((folder / "classifier.json").read_text())["weights_sha256"]
    settings = parent.settings
    mean, std = tuple(settings["mean"]), tuple(settings["std"])
    return PretrainedWeights(
        parent.network.state_dict(), mean, std, f"Classifier with weights {digest}"
    )
