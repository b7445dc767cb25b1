"""The stages of torchvision's and timm's networks, their heads, and their last convolutional maps."""

from typing import Any, Literal, NamedTuple

from torch import nn

from glasshead.errors import ParameterError

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
        cam_layers: the modules whose outputs are the convolutional maps of the stages, if they are maps.
        patch: side in pixels of the patches that the input is cut into; 1 if it is not cut.
    """

    stages: dict[str, tuple[str, ...]]
    head: str
    cam_layers: tuple[str, ...]
    patch: int = 1


STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def _numbered(head: str, *ends: int, last: tuple[str, ...] = ()) -> Anatomy:
    """Return the anatomy of a network of numbered blocks; each stage ends before its number in `ends`."""
    spans = zip(STAGES, (0, *ends[:-1]), ends, strict=True)
    stages = {name: tuple(f"features.{k}" for k in range(start, end)) for name, start, end in spans}
    stages["stage4"] += last
    return Anatomy(stages, head, tuple(f"features.{end - 1}" for end in ends[1:]))


_RESNET = Anatomy(
    {"stem": ("conv1", "bn1")} | {f"stage{k}": (f"layer{k}",) for k in (1, 2, 3, 4)},
    "fc",
    ("layer1", "layer2", "layer3", "layer4"),
)
_VIT_LAYERS = [f"encoder.layers.encoder_layer_{k}" for k in range(12)]

ANATOMIES: dict[str, Anatomy] = {
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v3_small": _numbered("classifier.3", 1, 2, 4, 9, 13, last=("classifier.0",)),
    "mobilenet_v3_large": _numbered("classifier.3", 2, 4, 7, 13, 17, last=("classifier.0",)),
    "efficientnet_b0": _numbered("classifier.1", 2, 3, 4, 6, 9),
    "vit_b_16": Anatomy(
        {
            "stem": ("conv_proj", "class_token", "encoder.pos_embedding"),
            "stage1": tuple(_VIT_LAYERS[:3]),
            "stage2": tuple(_VIT_LAYERS[3:6]),
            "stage3": tuple(_VIT_LAYERS[6:9]),
            "stage4": (*_VIT_LAYERS[9:], "encoder.ln"),
        },
        "heads.head",
        (),
        patch=16,
    ),
}


TIMM = "timm:"  # before the name of an architecture of timm's


def timm_anatomy(network: Any) -> Anatomy:
    """Return the parts of a network of timm, by its `feature_info`.

    Where its features have ever smaller maps, the last four are stages 1 to 4, and all before them is the stem. Where
    they have one size, as in a transformer, they are divided into four stages alike.

    Raises ParameterError if it has fewer than four features, or no linear layer that gives the logits, or names them
    otherwise than most networks.
    """
    try:
        anatomy = _timm_anatomy(network)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise _unknown_stages(network) from error
    if not all(anatomy.stages.values()):
        raise _unknown_stages(network)
    return anatomy


def _unknown_stages(network: nn.Module) -> ParameterError:
    return ParameterError(
        f"timm's {type(network).__name__} does not say where its four stages and its linear head are, so it cannot "
        "be trained on. Choose another architecture."
    )


def _timm_anatomy(network: Any) -> Anatomy:
    heads = [name for name, module in network.named_modules() if module is network.get_classifier()]
    features = [info["module"] for info in getattr(network, "feature_info", [])]
    if not isinstance(network.get_classifier(), nn.Linear) or len(features) < 4:
        raise ValueError("fewer than four features, or no linear head")
    reductions = [info["reduction"] for info in network.feature_info]
    is_pyramid = len(set(reductions)) == len(features)
    quarters = [features[len(features) * part // 4 - 1] for part in (1, 2, 3, 4)]
    ends = features[-4:] if is_pyramid else quarters
    names = [name for name, _ in network.named_parameters() if not name.startswith(f"{heads[0]}.")]
    modules = {name: rank for rank, (name, _) in enumerate(network.named_modules())}

    def end_of(module: str) -> int:
        """Return how many parameters there are up to the end of a module, which may have none itself."""
        upto = [
            k
            for k, name in enumerate(names)
            if name.startswith(f"{module}.") or modules[name.rpartition(".")[0]] < modules[module]
        ]
        return max(upto) + 1

    if is_pyramid and len(features) > 4:
        first = end_of(features[-5])
    else:
        first = min(k for k, name in enumerate(names) if name.startswith(f"{features[0]}."))
    bounds = [0, first, *map(end_of, ends[:3]), len(names)]
    stages = {
        stage: tuple(names[start:end])
        for stage, start, end in zip(STAGES, bounds[:-1], bounds[1:], strict=True)
    }
    return Anatomy(stages, heads[0], tuple(features[-4:]) if is_pyramid else ())


def parameter_names(network: nn.Module, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the parameters in `modules`, in order; a single parameter may stand for a module."""
    prefixes = tuple(f"{module}." for module in modules)
    return tuple(name for name, _ in network.named_parameters() if f"{name}.".startswith(prefixes))
