"""Classifiers trained from scratch: a convolutional network by name, with its preprocessing."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.compact_cnn import CompactCNN
from glasshead.models.fast_cnn import FastCNN
from glasshead.models.processor import Resampling, resize_and_crop
from glasshead.models.resnet import SmallImageResNet18
from glasshead.seeds import torch_seeded

Architecture = Literal["compact_cnn", "fast_cnn", "resnet18"]
Network = CompactCNN | FastCNN | SmallImageResNet18
ARCHITECTURES: Mapping[Architecture, type[Network]] = {
    "compact_cnn": CompactCNN,
    "fast_cnn": FastCNN,
    "resnet18": SmallImageResNet18,
}
SMALLEST = 16  # pixels a side
Colour = tuple[float, float, float]


class CNNClassifier(Classifier):
    """A network of `ARCHITECTURES`, `net`, on images normalised by mean and standard deviation of train pixels."""

    kind = "cnn"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: Architecture,
        classes: tuple[str, ...],
        input_size: int,
        width: float,
        mean: Colour,
        std: Colour,
        resize: Resampling,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(classes, input_size, provenance)
        self._settings = {
            "architecture": architecture,
            "width": width,
            "mean": list(mean),
            "std": list(std),
            "resize": resize,
        }
        self.resize = resize
        self.net: Network = ARCHITECTURES[architecture](len(classes), width)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Architecture, width, mean and standard deviation of train pixels in [0, 1], and interpolation."""
        return self._settings

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Build the network; weights follow."""
        return cls(
            classes=tuple(described["classes"]),
            input_size=described["input_size"],
            provenance=described["provenance"],
            **settings,
        )

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Resize the shorter side to the input size, antialiased, and crop the middle."""
        return resize_and_crop(images, self.input_size, self.resize)

    def normalise(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Bring images in [0, 1] to the scale the network reads."""
        return (images - self.mean) / self.std

    def whiten(self, images: Float[Tensor, "n 3 h w"]) -> None:
        """Fit the first filters of `fast_cnn` to train images in [0, 1]; other architectures have none to fit."""
        if isinstance(self.net, FastCNN):
            self.net.whiten(self.normalise(images))

    def cam_layers(self) -> list[nn.Module]:
        """Return the convolutional stages, whose outputs (b, c, rows, columns) class activation maps weigh."""
        return [self.net.get_submodule(name) for name in self.net.cam_layers]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return class logits."""
        return self.net(self.normalise(images))


def build_cnn(
    architecture: Architecture,
    classes: tuple[str, ...],
    input_size: int,
    *,
    mean: Colour,
    std: Colour,
    provenance: dict[str, Any],
    seed: int,
    width: float = 1.0,
    resize: Resampling = "bilinear",
) -> CNNClassifier:
    """Return an untrained classifier whose initial weights depend on `seed`, not on torch's own generator.

    `mean` and `std` are those of train pixels in [0, 1], by channel. `width` scales all channel counts.

    Raises ParameterError if images are smaller than 16 pixels a side, or a channel does not vary.
    """
    if input_size < SMALLEST:
        raise ParameterError(
            f"The input size is {input_size}; networks halve the side three times and need at least {SMALLEST} pixels."
        )
    if not min(std) > 0:
        raise ParameterError(
            f"The standard deviation of the train pixels is {tuple(std)}: a constant channel cannot be "
            "normalised. Look at the train images."
        )
    with torch_seeded(seed):
        return CNNClassifier(
            architecture, classes, input_size, width, mean, std, resize, provenance
        )
