"""Logits of many images, with a network and pixels that need not fit into memory at once."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from glasshead.models.classifier import as_images

Logits = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]
Take = Callable[[Int[Tensor, " b"]], UInt8[Tensor, "b 3 h w"]]
BATCH = 512  # images at once


@torch.inference_mode()
def logits_of(
    model: nn.Module, take: Take, rows: int, device: str, compute: Logits | None = None
) -> Float[np.ndarray, "n k"]:
    """Return the float32 logits of the images that `take` gives for the first `rows` indices; n = `rows`, above 0.

    `model` computes on `device` in evaluation mode, and comes back to where it was. `compute` calls it in another way,
    such as test-time augmentation does.
    """
    origin = next(model.parameters()).device
    model.to(device).eval()
    run = compute or model
    try:
        parts = [
            run(as_images(take(places).to(device))).float().cpu()
            for places in torch.arange(rows).split(BATCH)
        ]
    finally:
        model.to(origin)
    return torch.cat(parts).numpy()
