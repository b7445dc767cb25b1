"""Image classifiers of timm, torchvision and transformers, with their last layer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from glasshead.errors import BackboneError, ModelError
from glasshead.models.backbone import BackboneParams, resolve_backbone, weights_hash
from glasshead.models.outside import ModelParams, Outside
from glasshead.models.processor import input_size, load_processor
from glasshead.models.towers import from_pretrained, read_config, refuse_gaps

IMAGENET = 1000  # classes


def read_network(model: ModelParams, path: str) -> Outside:
    """Return the classifier of a library, found as a backbone is.

    Raises ModelError: it is missing, has no last layer, or its weights do not fit.
    """
    try:
        folder = resolve_backbone(BackboneParams(name=path, weights=model.weights))
        config = json.loads((folder / "config.json").read_text())
    except (BackboneError, ValueError) as error:
        raise ModelError(f"external.model.path: {error}") from error
    read = _read_processor(folder)
    built, classes = _described(config, read.get("input_size"))
    if classes:
        read["classes"] = classes
    try:
        network = _with_weights(built, folder)
    except (BackboneError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {folder} are not those of the classifier in its config.json: {error}. Save the classifier "
            "with its last layer."
        ) from error
    return Outside(network.eval(), built, read, "gradient", weights_hash(folder))


def _with_weights(built: Mapping[str, Any], folder: Path) -> nn.Module:
    """Return the network with the weights in `folder`; BackboneError or RuntimeError if they do not fit."""
    if built["kind"] == "transformers":
        from transformers import AutoModelForImageClassification

        model, missing = from_pretrained(
            AutoModelForImageClassification, folder, read_config(folder)
        )
        refuse_gaps(folder, missing)
        return _TransformersLogits(model)
    network = build_library(built)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network


def _read_processor(folder: Path) -> dict[str, Any]:
    """Return the image processor of the network in `folder`, if it is of a class that is known here."""
    try:
        processor = load_processor(folder)
        return {"outputs": "logits", "processor": processor, "input_size": input_size(processor)}
    except BackboneError:  # the contract must say then what the network reads
        return {"outputs": "logits"}


def _described(config: dict[str, Any], side: int | None) -> tuple[dict[str, Any], list[str]]:
    """Return the JSON values from which a network is built, and its classes, if they are known."""
    if "model_type" in config:
        named = config.get("id2label") or {}
        classes = [named[key] for key in sorted(named, key=int)]
        return {"kind": "transformers", "config": config}, classes
    if "torchvision" in config:
        built = {"kind": "torchvision", "architecture": config["torchvision"], "side": side}
        built["classes"], labels = config["num_classes"], None
    else:
        described = config.get("pretrained_cfg", config)
        built = {"kind": "timm", "architecture": config["architecture"]}
        options = config.get("model_args", {})
        built["options"] = {key: options[key] for key in options if key != "num_classes"}
        built["classes"] = config.get("num_classes", described.get("num_classes"))
        labels = config.get("label_names") or described.get("label_names")
    if not labels and built["classes"] == IMAGENET:
        labels = imagenet_names()
    return built, labels or []


def build_library(built: Mapping[str, Any]) -> nn.Module:
    """Return the network that `built` describes, with random weights."""
    if built["kind"] == "transformers":
        return _TransformersLogits.of(built["config"])
    architecture, classes = built["architecture"], built["classes"]
    if built["kind"] == "timm":
        import timm

        created: nn.Module = timm.create_model(
            architecture, num_classes=classes, **built["options"]
        )
        return created
    from torchvision.models import get_model

    size = {"image_size": built["side"]} if architecture.startswith("vit_") else {}
    network: nn.Module = get_model(architecture, num_classes=classes, **size)
    return network


def imagenet_names() -> list[str]:
    """Return the names of ImageNet's 1000 classes in the usual order, as timm lists them."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [str(info.index_to_description(index)) for index in range(IMAGENET)]


class _TransformersLogits(nn.Module):
    """An image classifier of transformers that returns its logits alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @classmethod
    def of(cls, config: dict[str, Any]) -> Self:
        """Return the classifier of `config`, the contents of a config.json, with random weights."""
        from transformers import AutoConfig, AutoModelForImageClassification

        settings = {name: value for name, value in config.items() if name != "model_type"}
        try:
            described = AutoConfig.for_model(config["model_type"], **settings)
            return cls(AutoModelForImageClassification.from_config(described).float())
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(
                f"transformers has no image classifier of model_type {config['model_type']!r}: {error}"
            ) from error

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Return the logits."""
        logits: Tensor = self.model(pixel_values=pixels).logits
        return logits
