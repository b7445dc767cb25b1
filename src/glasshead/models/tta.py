"""Test-time augmentation: logits averaged over views of an image, always reported separately."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Logits = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]


def flip_tta(model: Logits, shift: int = 0) -> Logits:
    """Return a function that averages the logits of images and of their mirror images.

    With a `shift` in pixels, half of the weight goes to views shifted by it, up and left and down and right, with
    reflected borders: the multi-crop evaluation of airbench (Jordan 2024, arXiv:2404.00498, section 3.5).
    """

    def mirrored(images: Tensor) -> Tensor:
        return (model(images) + model(images.flip(-1))) / 2

    def shifted(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(images, (shift,) * 4, mode="reflect")
        corners = (padded[..., :height, :width], padded[..., -height:, -width:])
        moved = torch.stack([mirrored(corner) for corner in corners]).mean(dim=0)
        return (mirrored(images) + moved) / 2

    return shifted if shift else mirrored
