"""The stages of torchvision's networks, their heads, and their last convolutional maps."""

from typing import Literal, NamedTuple

from torch import nn

Architecture = Literal[
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vit_b_16",
]


class Anatomy(NamedTuple):
    """The parts of a network, as names of its modules and parameters.

    Attributes:
        stages: the contents of each stage, from the input to the output. In a convolutional network, the stem's map has
            1/2 of the input's side, and those of stages 1 to 4 have 1/4, 1/8, 1/16 and 1/32.
        head: the linear layer that gives the logits.
        cam_layer: the module whose output is the last convolutional map, if any.
        patch: side in pixels of the patches that the input is cut into; 1 if it is not cut.
    """

    stages: dict[str, tuple[str, ...]]
    head: str
    cam_layer: str | None
    patch: int = 1


def _features(*ends: int, last: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return stages of numbered blocks; each stage ends before its number in `ends`."""
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    spans = zip(names, (0, *ends[:-1]), ends, strict=True)
    stages = {name: tuple(f"features.{k}" for k in range(start, end)) for name, start, end in spans}
    return stages | {"stage4": (*stages["stage4"], *last)}


_RESNET = Anatomy(
    {"stem": ("conv1", "bn1")} | {f"stage{k}": (f"layer{k}",) for k in (1, 2, 3, 4)}, "fc", "layer4"
)
_VIT_LAYERS = [f"encoder.layers.encoder_layer_{k}" for k in range(12)]

ANATOMIES: dict[Architecture, Anatomy] = {
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v3_small": Anatomy(
        _features(1, 2, 4, 9, 13, last=("classifier.0",)), "classifier.3", "features.12"
    ),
    "mobilenet_v3_large": Anatomy(
        _features(2, 4, 7, 13, 17, last=("classifier.0",)), "classifier.3", "features.16"
    ),
    "efficientnet_b0": Anatomy(_features(2, 3, 4, 6, 9), "classifier.1", "features.8"),
    "vit_b_16": Anatomy(
        {
            "stem": ("conv_proj", "class_token", "encoder.pos_embedding"),
            "stage1": tuple(_VIT_LAYERS[:3]),
            "stage2": tuple(_VIT_LAYERS[3:6]),
            "stage3": tuple(_VIT_LAYERS[6:9]),
            "stage4": (*_VIT_LAYERS[9:], "encoder.ln"),
        },
        "heads.head",
        None,
        patch=16,
    ),
}


def parameter_names(network: nn.Module, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the parameters in `modules`, in order; a single parameter may stand for a module."""
    prefixes = tuple(f"{module}." for module in modules)
    return tuple(name for name, _ in network.named_parameters() if f"{name}.".startswith(prefixes))
