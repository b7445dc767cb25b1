"""A network of torchvision or timm as a Classifier, with a backbone in stages and a head for the data's classes."""

from typing import Any, Self

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.vision_transformer import interpolate_embeddings

from glasshead.errors import BackboneError, ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.interpolation import Interpolation, resize
from glasshead.models.processor import resize_and_crop
from glasshead.models.resnet import SHAPES, ScaledResNet
from glasshead.models.stages import ANATOMIES, TIMM, parameter_names, timm_anatomy


class TransferClassifier(Classifier):
    """A network that resizes images to its own size; all of its weights are saved.

    Attributes:
        architecture: torchvision's name of the network, or timm's after "timm:".
        width: factor on the channel counts of a ResNet; 1 is torchvision's.
        backbone_size: side in pixels of the images that the network reads, unless `interpolation` is none.
        interpolation: how images are brought to that size, inside `forward`.
        network: the library's module, from normalised images to logits.
    """

    kind = "transfer"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: tuple[str, ...],
        input_size: int,
        provenance: dict[str, Any],
        *,
        architecture: str,
        backbone_size: int,
        interpolation: Interpolation,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        width: float = 1.0,
    ) -> None:
        super().__init__(classes, input_size, provenance)
        self.architecture = architecture
        self.width = width
        self.backbone_size = backbone_size
        self.interpolation: Interpolation = interpolation
        if architecture.startswith(TIMM):
            self.network: nn.Module = self._build_timm(architecture.removeprefix(TIMM))
            self.anatomy = timm_anatomy(self.network)
        else:
            self.anatomy = ANATOMIES[architecture]
            self._check_size()
            self.network = self._build_network()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def _build_timm(self, architecture: str) -> nn.Module:
        import timm

        network: Any = timm.create_model(architecture, num_classes=len(self.classes))
        own = network.pretrained_cfg["input_size"][-1]
        if hasattr(network, "patch_embed") and self.network_size != own:
            raise ParameterError(
                f"timm's {architecture} reads images of {own} pixels a side, not of {self.network_size}. Set "
                f"`backbone_size` to {own}, and `interpolation` to bilinear or bicubic."
            )
        return network

    def _check_size(self) -> None:
        patch, size = self.anatomy.patch, self.network_size
        if size % patch:
            read = "the images' own size" if self.interpolation == "none" else "backbone_size"
            raise ParameterError(
                f"{self.architecture} cuts its input into patches of {patch} pixels, and {read}, {size}, is not a "
                f"multiple of that. Set `backbone_size` to a multiple of {patch}, such as 224, and `interpolation` to "
                "bilinear or bicubic."
            )

    def _build_network(self) -> nn.Module:
        classes = len(self.classes)
        if self.width == 1:
            size = {"image_size": self.network_size} if self.anatomy.patch > 1 else {}
            return get_model(self.architecture, weights=None, num_classes=classes, **size)
        if self.architecture not in SHAPES:
            raise ParameterError(
                f"{self.architecture} has only one width. Set `width` to 1, or `architecture` to {' or '.join(SHAPES)}."
            )
        return ScaledResNet(self.architecture, classes, self.width)

    @property
    def network_size(self) -> int:
        """Side in pixels of the images that the network reads."""
        return self.input_size if self.interpolation == "none" else self.backbone_size

    @property
    def settings(self) -> dict[str, Any]:
        """The network by name and width, its input size, interpolation, mean and std."""
        return {
            "architecture": self.architecture,
            "width": self.width,
            "backbone_size": self.backbone_size,
            "interpolation": self.interpolation,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Build the network with random weights."""
        classes = tuple(described["classes"])
        return cls(classes, described["input_size"], described["provenance"], **settings)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the backbone's parameter names by stage: stem, stage1 to stage4, from the input to the output."""
        return {name: self._names(modules) for name, modules in self.anatomy.stages.items()}

    def head_names(self) -> tuple[str, ...]:
        """Return the parameter names of the head, the linear layer that gives the logits."""
        return self._names((self.anatomy.head,))

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        head = self.network.get_submodule(self.anatomy.head)
        assert isinstance(head, nn.Linear)
        return head

    @torch.inference_mode()
    def features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return what the head reads."""
        read: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self(images)
        finally:
            hook.remove()
        return read[0]

    @torch.no_grad()
    def set_head(self, weight: Float[Tensor, "k d"], bias: Float[Tensor, " k"]) -> None:
        """Replace the weights and biases of the head."""
        self.head.weight.copy_(weight)
        self.head.bias.copy_(bias)

    def _names(self, modules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"network.{name}" for name in parameter_names(self.network, modules))

    def cam_layers(self) -> list[nn.Module]:
        """Return the modules that give the stages' convolutional maps; ParameterError where there are none."""
        if not self.anatomy.cam_layers:
            raise ParameterError(
                f"{self.architecture} has no convolutional map for a class activation map. Use a gradient method."
            )
        return [self.network.get_submodule(name) for name in self.anatomy.cam_layers]

    def take_backbone(self, state: dict[str, Tensor]) -> None:
        """Copy another network's weights except the head's; a ViT's position embeddings are interpolated.

        Raises BackboneError if the weights are of another architecture.
        """
        head = f"{self.anatomy.head}."
        kept = {name: value for name, value in state.items() if not name.startswith(head)}
        try:
            if self.anatomy.patch > 1:
                kept = interpolate_embeddings(self.network_size, self.anatomy.patch, kept)
            missing, unexpected = self.network.load_state_dict(kept, strict=False)
        except (RuntimeError, ValueError, LookupError) as error:
            raise BackboneError(f"These weights do not fit {self.architecture}: {error}") from error
        wrong = [*unexpected, *(name for name in missing if not name.startswith(head))]
        if wrong:
            raise BackboneError(f"These weights do not fit {self.architecture}: {wrong[:3]}.")

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Resize the shorter side of RGB images of any size to the input size, bicubic, and crop the middle."""
        return resize_and_crop(images, self.input_size, "bicubic")

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return class logits: resized, normalised, through the network.

        A convolutional network reads images that are smaller than `input_size` at a size that is smaller by as much.
        """
        size = self.network_size
        if self.anatomy.cam_layers:
            size = round(size * min(1, images.shape[-1] / self.input_size))
        resized = resize(images, size, self.interpolation)
        return self.network((resized - self.mean) / self.std)
