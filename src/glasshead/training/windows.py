"""Windows of images that reach over the border, where the image is reflected."""

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


def reflected_windows(
    images: Shaped[Tensor, "b c h w"],
    top: Int[Tensor, " b"],
    left: Int[Tensor, " b"],
    mirrored: Bool[Tensor, " b"],
) -> Shaped[Tensor, "b c h w"]:
    """Return for each image the window of its own size that begins `top` and `left` pixels from its corner.

    Both may be negative and must be smaller than the side. The border row or column is not repeated. Where `mirrored`,
    left and right of the window change places. One gather for the batch, on the images' device; the result has their
    type, and lies in memory channels last.
    """
    height, width = images.shape[-2:]
    top, left, mirrored = (part.to(images.device)[:, None] for part in (top, left, mirrored))
    across = torch.arange(width, device=images.device)
    rows = _reflect(top + torch.arange(height, device=images.device), height)
    columns = _reflect(left + torch.where(mirrored, across.flip(0), across), width)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    gathered = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return gathered.permute(0, 3, 1, 2)


def _reflect(places: Int[Tensor, "b n"], size: int) -> Int[Tensor, "b n"]:
    last = size - 1
    return last - (last - places.abs()).abs()
