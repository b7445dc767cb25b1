"""Ensembles: Classifiers that average the calibrated probabilities of others.

Lakshminarayanan, Pritzel and Blundell 2017, arXiv:1612.01474.
"""

import math
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from glasshead.errors import ParameterError
from glasshead.models.classifier import Classifier
from glasshead.models.interpolation import resize


class Ensemble(Classifier):
    """The mean of its members' calibrated probabilities; its own temperature acts on the logarithm of that mean.

    Its input size is its members' largest; images are resized for the other members. It is saved as one folder with
    every member's weights and description.

    Raises ParameterError for fewer than two members, or members with different classes.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Classifier], provenance: dict[str, Any]) -> None:
        _check_members(members)
        size = max(member.input_size for member in members)
        super().__init__(members[0].classes, size, provenance)
        self.parts = nn.ModuleList(members)

    @property
    def members(self) -> list[Classifier]:
        """The Classifiers that are averaged."""
        return cast(list[Classifier], list(self.parts))

    @property
    def settings(self) -> dict[str, Any]:
        """Every member's description."""
        return {"members": [member.describe() for member in self.members]}

    @classmethod
    def from_settings(cls, settings: dict[str, Any], described: dict[str, Any]) -> Self:
        """Build every member from its description."""
        members = [Classifier.from_description(member) for member in settings["members"]]
        return cls(members, described["provenance"])

    def own_state(self) -> dict[str, Tensor]:
        """Return copies of all members' saved weights, as members may share weights."""
        return {
            f"parts.{index}.{name}": value.clone()
            for index, member in enumerate(self.members)
            for name, value in member.own_state().items()
        }

    def prepare(self, images: list[Image.Image]) -> UInt8[Tensor, "b 3 h w"]:
        """Prepare RGB images as the first member with the largest input size does."""
        largest = max(self.members, key=lambda member: member.input_size)
        return largest.prepare(images)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return the logarithm of the mean of the members' calibrated probabilities."""
        log_probabilities = [
            (member(resize(images, member.input_size)) / member.temperature).log_softmax(dim=-1)
            for member in self.members
        ]
        return torch.stack(log_probabilities).logsumexp(dim=0) - math.log(len(log_probabilities))

    def attacked_logits(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Return the mean of the members' logits at their temperatures.

        The gradient of the mean probability vanishes if members are confident, which would look like robustness.
        """
        logits = [
            member.attacked_logits(resize(images, member.input_size)) / member.temperature
            for member in self.members
        ]
        return torch.stack(logits).mean(dim=0)


def _check_members(members: Sequence[Classifier]) -> None:
    if len(members) < 2:
        raise ParameterError(f"An ensemble needs two Classifiers or more, not {len(members)}.")
    for index, member in enumerate(members):
        if member.classes != members[0].classes:
            raise ParameterError(
                f"The members of an ensemble need the same classes in the same order; member {index} has "
                f"{', '.join(member.classes)}, but member 0 has {', '.join(members[0].classes)}. Train them on the "
                "same data."
            )
