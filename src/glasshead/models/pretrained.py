"""Transfer learning: a backbone from ImageNet or an earlier Classifier with a new head."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, PositiveFloat, PositiveInt
from safetensors.torch import load_file
from torch import nn

from glasshead.errors import BackboneError, ParameterError
from glasshead.models.backbone import (
    BackboneParams,
    is_local,
    kind_of,
    resolve_backbone,
    weights_hash,
)
from glasshead.models.classifier import Classifier
from glasshead.models.imagenet import PretrainedWeights, load_imagenet, with_imagenet_colours
from glasshead.models.interpolation import Interpolation
from glasshead.models.libraries import split_name
from glasshead.models.processor import input_size, load_processor
from glasshead.models.stages import ANATOMIES, TIMM, Architecture
from glasshead.models.transfer import TransferClassifier
from glasshead.seeds import stream_seed, torch_seeded

OWN_SIZE = 64  # side in pixels of the images of a network trained from scratch


class PretrainedParams(BaseModel, extra="forbid", frozen=True):
    """The network, the origin of its backbone's weights, and its input.

    Attributes:
        architecture: the network if `pretrained` names none.
        width: the factor on the channel counts of a ResNet; ImageNet's weights have 1.
        pretrained: imagenet (torchvision's weights), none, the folder of a Classifier of kind transfer with this
            architecture and width, or a backbone of timm, such as imagenet-lite0, whose architecture is then used.
        backbone_size: side in pixels that images are resized to, unless `interpolation` is none; auto: the size that
            the weights were trained at.
    """

    architecture: Architecture = "resnet18"
    width: PositiveFloat = 1.0
    pretrained: str = "imagenet"
    backbone_size: Literal["auto"] | PositiveInt = "auto"
    interpolation: Interpolation = "bilinear"


def build_transfer(
    params: PretrainedParams,
    classes: tuple[str, ...],
    input_size: int,
    provenance: dict[str, Any],
    seed: int,
) -> TransferClassifier:
    """Return a network with the backbone of `params` and a new head, which depends only on `seed`.

    On a backbone of timm's, the head's weights and biases are zero.

    The origin of the backbone is added to the provenance.

    Raises:
        ParameterError: the architecture cannot have the size or width, or the Classifier in the folder is of another
            kind, architecture or width.
        BackboneError: the backbone or ImageNet's weights are not available.
        ArtifactError: no Classifier in the folder, or a damaged one.
    """
    from_backbone = names_backbone(params.pretrained)
    if from_backbone:
        architecture, weights = _load_backbone(params.pretrained)
    else:
        architecture, weights = params.architecture, _weights_for(params)
    with torch_seeded(stream_seed(seed, "transfer")):
        classifier = TransferClassifier(
            classes,
            input_size,
            provenance | {"pretrained": weights.source},
            architecture=architecture,
            width=1.0 if from_backbone else params.width,
            backbone_size=weights.size if params.backbone_size == "auto" else params.backbone_size,
            interpolation=params.interpolation,
            mean=weights.mean,
            std=weights.std,
        )
    if weights.state:
        classifier.take_backbone(dict(weights.state))
    if from_backbone:
        # timm's initial heads can give logits of 5 and more, which the first epochs would have to unlearn. A head of
        # zeros begins at equal probabilities: Kolesnikov et al. 2020, arXiv:1912.11370.
        for parameter in classifier.head.parameters():
            nn.init.zeros_(parameter)
    return classifier


def names_backbone(pretrained: str) -> bool:
    """Return whether `pretrained` is a backbone, whose own architecture is then trained."""
    return split_name(pretrained) is not None or is_local(pretrained)


def _weights_for(params: PretrainedParams) -> PretrainedWeights:
    if params.pretrained == "imagenet":
        if params.width != 1:
            raise ParameterError(
                f"ImageNet's weights have width 1, not {params.width:g}. Set `width` to 1, or `pretrained` to "
                "none or to a folder."
            )
        return load_imagenet(params.architecture)
    if params.pretrained == "none":
        return with_imagenet_colours(params.architecture, {}, "none")._replace(size=OWN_SIZE)
    return _load_parent(Path(params.pretrained).expanduser(), params)


def _load_parent(folder: Path, params: PretrainedParams) -> PretrainedWeights:
    parent = Classifier.load(folder)
    actual, wanted = _shape(parent), f"{params.architecture}, width {params.width:g}"
    if not isinstance(parent, TransferClassifier) or actual != wanted:
        raise ParameterError(
            f"The Classifier in {folder} is of {actual}, but a backbone of {wanted} is needed. Set `pretrained` to the "
            f"folder of a Classifier of kind transfer and {wanted}, or set `architecture` and `width` to this one's."
        )
    digest = json.loads((folder / "classifier.json").read_text())["weights_sha256"]
    settings = parent.settings
    mean, std = tuple(settings["mean"]), tuple(settings["std"])
    source = f"Classifier with weights {digest}"
    return PretrainedWeights(parent.network.state_dict(), mean, std, source, parent.network_size)


def _load_backbone(name: str) -> tuple[str, PretrainedWeights]:
    """Return the architecture and the weights of a backbone of timm, or of one of torchvision's in `ANATOMIES`."""
    folder = resolve_backbone(BackboneParams(name=name))
    config = json.loads((folder / "config.json").read_text())
    architecture = config.get("torchvision")
    if kind_of(folder) == "timm":
        architecture = f"{TIMM}{config['architecture']}"
    elif architecture not in ANATOMIES:
        raise BackboneError(
            f"train_transfer.network.pretrained: {name} cannot be trained on, only backbones of timm and "
            f"torchvision's {', '.join(ANATOMIES)}."
        )
    processor = load_processor(folder)
    weights = PretrainedWeights(
        load_file(folder / "model.safetensors"),
        tuple(processor.image_mean),
        tuple(processor.image_std),
        f"{name} with weights {weights_hash(folder)}",
        input_size(processor),
    )
    return str(architecture), weights


def _shape(parent: Classifier) -> str:
    if isinstance(parent, TransferClassifier):
        return f"{parent.architecture}, width {parent.width:g}"
    return f"kind {parent.kind}"
