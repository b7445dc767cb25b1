"""A classifier that somebody else trained, as a Classifier: its network, its contract, and its classes in ours."""

from typing import Any, Self

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from glasshead.errors import ModelError, ParameterError
from glasshead.models.classifier import Access, Classifier
from glasshead.models.contract import Contract
from glasshead.models.outside_kinds import build, map_layers
from glasshead.models.processor import input_size


class ExternalClassifier(Classifier):
    """A network from outside with its contract.

    A class of the images may be a union of several of the network's classes: its probability is then the sum of
    theirs. Classes of the network that belong to none are left out, and the others' probabilities are divided by
    their sum.

    Attributes:
        contract: what the network reads and returns.
        groups: for each class, the numbers of the network's outputs that belong to it.
        network: from normalised images to its outputs; None if only a table of outputs is known.
        built: JSON values from which the network is built again.
    """

    kind = "external"

    def __init__(
        self,
        classes: tuple[str, ...],
        provenance: dict[str, Any],
        *,
        contract: Contract,
        groups: tuple[tuple[int, ...], ...],
        network: nn.Module | None,
        built: dict[str, Any],
        access: Access,
    ) -> None:
        super().__init__(classes, input_size(contract.processor), provenance)
        self.contract, self.groups, self.built = contract, groups, built
        self.access = access
        self.network = network
        self._map_layers: list[str] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The contract, the groups of classes, how the network is built, and the access level."""
        return {
            "contract": self.contract.settings,
            "groups": self.groups,
            "built": self.built,
            "access": self.access,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Build the network; one that is code must be trusted on this machine."""
        return cls(
            tuple(described["classes"]),
            described["provenance"],
            contract=Contract.from_settings(settings["contract"]),
            groups=tuple(tuple(group) for group in settings["groups"]),
            network=build(settings["built"]),
            built=settings["built"],
            access=settings["access"],
        )

    def with_contract(self, contract: Contract) -> "ExternalClassifier":
        """Return a classifier that shares this one's network and reads it by another contract."""
        other = ExternalClassifier(
            self.classes,
            self.provenance,
            contract=contract,
            groups=self.groups,
            network=self.network,
            built=self.built,
            access=self.access,
        )
        return other.eval()

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Resize and crop as the contract says."""
        return self.contract.processor.prepare(images)

    def outputs(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Return what the network itself returns; ModelError unless that is a number for each class."""
        if self.network is None:
            raise ParameterError(
                "Of this classifier only a table of outputs is known, so it cannot classify other images."
            )
        outputs: Tensor = self.network(self.contract.normalised(images))
        classes = len(self.contract.classes)
        if (
            outputs.ndim != 2 or outputs.shape[1] != classes
        ):  # the number of images stays free in exports
            raise ModelError(
                f"The network returns {tuple(outputs.shape)} for {len(images)} images, but external.contract.classes "
                f"names {classes} classes. Correct the classes."
            )
        return outputs

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return raw logits of the classes of the images."""
        return self.grouped(self.contract.as_logits(self.outputs(images)))

    def grouped(self, logits: Float[Tensor, "b m"]) -> Float[Tensor, "b k"]:
        """Return the logits of the images' classes from those of the network's: the logarithm of sums of odds."""
        return torch.stack([_union(logits[:, list(group)]) for group in self.groups], dim=1)

    def cam_layers(self) -> list[nn.Module]:
        """Return the network's convolutional stages, or the last one; ParameterError where there are none."""
        if self._map_layers is None:  # one pass of a black image
            self._map_layers = map_layers(self.network, self.input_size)
        if not self._map_layers or self.network is None:
            raise ParameterError(
                "This network has no convolutional map for class activation maps. Use a gradient method, or occlusion."
            )
        return [self.network.get_submodule(name) for name in self._map_layers]


def _union(logits: Float[Tensor, "b g"]) -> Float[Tensor, " b"]:
    return logits[:, 0] if logits.shape[1] == 1 else logits.logsumexp(dim=1)
