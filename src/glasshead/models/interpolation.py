"""Resizing of images to a network's size, and its effect on fine detail."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic", "none"]


def resize(
    images: Float[Tensor, "b 3 h w"], size: int, interpolation: Interpolation = "bilinear"
) -> Float[Tensor, "b 3 s s"]:
    """Return images of `size` × `size` pixels, antialiased if they become smaller; differentiable.

    Images of that size, and all images if `interpolation` is none, are unchanged. bicubic may overshoot the images'
    range at edges and is not clipped, so that gradients flow everywhere.
    """
    if interpolation == "none" or images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode=interpolation, antialias=True)


def high_frequency_fraction(
    images: UInt8[Tensor, "n 3 s s"], size: int, interpolation: Interpolation
) -> Float64[Tensor, " n"]:
    """Return the fraction in [0, 1] of fine detail in the spectral energy of images resized to `size`.

    Fine detail lies above half the Nyquist frequency of the original, s / 4 cycles per image; the mean is left out.
    Fine detail that enlarging adds was not in the original. Images of one colour have no energy and give NaN.
    """
    resized = resize(images.double() / 255, size, interpolation)
    side = resized.shape[-1]
    cycles = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=images.device)
    radius = torch.hypot(cycles[:, None], cycles[None, :])  # cycles per image of each frequency
    power = torch.fft.fft2(resized, norm="forward").abs().square().sum(1)
    fraction = power[:, radius > images.shape[-1] / 4].sum(1) / power[:, radius > 0].sum(1)
    pixels = images.flatten(2)
    flat = (pixels.amax(2) == pixels.amin(2)).all(1)
    return fraction.masked_fill(flat, torch.nan)
