"""Transfer learning: a backbone from ImageNet or an earlier Classifier with a new head."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveFloat, PositiveInt

from glasshead.errors import ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.imagenet import PretrainedWeights, load_imagenet, with_imagenet_colours
from glasshead.models.interpolation import Interpolation
from glasshead.models.stages import Architecture
from glasshead.models.transfer import TransferClassifier
from glasshead.seeds import stream_seed, torch_seeded


class PretrainedParams(BaseModel, extra="forbid", frozen=True):
    """The network, the origin of its backbone's weights, and its input.

    `width` is the factor on the channel counts of a ResNet; ImageNet's weights have 1.
    `pretrained`: imagenet, none, or the folder of a Classifier of kind transfer with this architecture and width.
    `backbone_size`: side in pixels that images are resized to, unless `interpolation` is none.
    """

    architecture: Architecture = "resnet18"
    width: PositiveFloat = 1.0
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
    """Return a network with the backbone of `params` and a new head, which depends only on `seed`.

    The origin of the backbone is added to the provenance.

    Raises:
        ParameterError: the architecture cannot have the size or width, or the Classifier in the folder is of another
            kind, architecture or width.
        BackboneError: ImageNet's weights are not available.
        ArtifactError: no Classifier in the folder, or a damaged one.
    """
    weights = _find_weights(params)
    with torch_seeded(stream_seed(seed, "transfer")):
        classifier = TransferClassifier(
            classes,
            input_size,
            provenance | {"pretrained": weights.source},
            architecture=params.architecture,
            width=params.width,
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
        if params.width != 1:
            raise ParameterError(
                f"ImageNet's weights have width 1, not {params.width:g}. Set `width` to 1, or `pretrained` to "
                "none or to a folder."
            )
        return load_imagenet(params.architecture)
    if params.pretrained == "none":
        return with_imagenet_colours(params.architecture, {}, "none")
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
    return PretrainedWeights(
        parent.network.state_dict(), mean, std, f"Classifier with weights {digest}"
    )


def _shape(parent: Classifier) -> str:
    if isinstance(parent, TransferClassifier):
        return f"{parent.architecture}, width {parent.width:g}"
    return f"kind {parent.kind}"
