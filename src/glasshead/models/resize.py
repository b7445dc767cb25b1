"""From images of any size to the square a network reads."""

from typing import Literal

import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode

Resampling = Literal["bilinear", "bicubic"]


def resize_and_crop(
    images: list[Image.Image], size: int, interpolation: Resampling = "bilinear"
) -> UInt8[Tensor, "b 3 size size"]:
    """Return RGB images with the shorter side at `size` pixels, antialiased, and the middle of the longer one.

    What has the size already is not touched.
    """
    mode = InterpolationMode(interpolation)
    pixels = [F.pil_to_tensor(image) for image in images]
    return torch.stack(
        [F.center_crop(F.resize(p, [size], mode, antialias=True), [size, size]) for p in pixels]
    )
