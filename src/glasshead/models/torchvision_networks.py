"""The parts of torchvision's networks that a backbone needs: what the last layer reads, and the last feature map."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.vision_transformer import VisionTransformer

from glasshead.errors import BackboneError

# SqueezeNets end in a convolution, and the other two change the scale of pixels for pretrained weights alone.
UNUSABLE = ("squeezenet", "googlenet", "inception")


def known_networks() -> list[str]:
    """Return the names of torchvision's classifiers that end in a linear layer and read pixels in one scale."""
    names = models.list_models(module=models)
    return [name for name in names if not name.startswith(UNUSABLE)]


def last_linear(network: nn.Module) -> str:
    """Return the name of the linear layer that gives the logits."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]


class TorchvisionNetwork(nn.Module):
    """A torchvision classifier without its last layer, with the part of it that gives the last feature map.

    Attributes:
        map_layers: the name of the module that gives the feature map (b, c, rows, columns); none for a transformer.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        parent, _, name = last_linear(network).rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
        self.network = network.eval()
        self._tokens = isinstance(network, VisionTransformer)
        last = "encoder" if self._tokens else _last_map(network, side)
        self._map = create_feature_extractor(network, {last: "map"})
        self.map_layers = () if self._tokens else (f"network.{last}",)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return what the last layer reads (b, d)."""
        return self.network(pixels)

    def feature_map(self, pixels: Tensor) -> Tensor:
        """Return the last feature map (b, c, rows, columns), or the patch tokens (b, patches, d) of a transformer."""
        features = self._map(pixels)["map"]
        return features[:, 1:] if self._tokens else features  # without the class token


def _last_map(network: nn.Module, side: int) -> str:
    maps = feature_maps(network, side)
    if not maps:
        raise BackboneError(
            f"A {type(network).__name__} has no feature map of several places for images of {side} pixels."
        )
    return maps[-1]


def feature_maps(network: nn.Module, side: int) -> list[str]:
    """Return the names of the modules that give feature maps (b, c, rows, columns) with more than one place.

    The module that ends last comes last; of modules that give the same map, that is the outermost.
    """
    maps: list[str] = []

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                rows, columns = output.shape[2:]
                if rows == columns > 1:
                    maps.append(name)

        return hook

    hooks = [
        module.register_forward_hook(record(name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return maps
