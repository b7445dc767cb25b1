"""Logits of many images, in batches that fit into memory, and test-time augmentation."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from glasshead.device import Computes, FittingBatches, choose_device, computing_on
from glasshead.errors import ParameterError
from glasshead.images.pixels import PixelSource
from glasshead.images.table import ImageTable
from glasshead.models.classifier import Classifier, as_images
from glasshead.models.packed import is_convolutional

Logits = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k"]]
Take = Callable[[Int[Tensor, " b"]], UInt8[Tensor, "b 3 h w"]]
BATCH = 512  # images at once
SMALL = 512 * 3 * 64**2  # pixel values at once; larger images are computed in smaller batches


@torch.inference_mode()
def logits_of(
    model: nn.Module, take: Take, rows: int, device: str, compute: Logits | None = None
) -> Float[np.ndarray, "n k"]:
    """Return the float32 logits of the images that `take` gives for the indices 0 to n - 1; n = `rows` > 0.

    `model` computes on `device` in evaluation mode and is moved back afterwards. `compute`, if given, is called in
    place of `model`, as for test-time augmentation. Batches that do not fit into memory are halved.

    Raises ParameterError if a single image does not fit into memory.
    """
    run = compute or model
    fitting = FittingBatches(
        device, ParameterError, "Use a smaller classifier, or let it compute on the CPU."
    )

    # convolutions of large images are faster where the values of a pixel lie side by side
    layout = torch.channels_last if is_convolutional(model) else torch.preserve_format

    def logits(pixels: Tensor) -> Tensor:
        return run(as_images(pixels.to(device))).float().cpu()

    outputs = []
    with computing_on(model, device):
        for indices in torch.arange(rows).split(BATCH):
            pixels = take(indices)
            size = max(1, SMALL // pixels[0].numel())
            if size < BATCH:
                pixels = pixels.contiguous(memory_format=layout)
            outputs += [fitting(logits, part) for part in pixels.split(size)]
    return torch.cat(outputs).numpy()


def predict_logits(
    classifier: Classifier, images: ImageTable, samples: pd.DataFrame, parameters: Computes
) -> pd.DataFrame:
    """Return raw logits of all rows as columns `logit/<class>`, with image_id, split and label.

    Raises ArtifactError if `samples` do not belong to `images`.
    """
    images.check_rows(samples)
    source = PixelSource(images, np.arange(len(images)), classifier.prepare)
    device = choose_device(parameters.device, "device")
    logits = logits_of(classifier, source, len(images), device)
    columns = [f"logit/{name}" for name in classifier.classes]
    table = pd.DataFrame(logits, columns=columns, index=samples.index)
    return pd.concat([samples[["image_id", "split", "label"]], table], axis=1)


def flip_tta(model: Logits, shift: int = 0) -> Logits:
    """Return a function that averages the logits of images and their mirror images; results are reported separately.

    With a `shift` in pixels, half of the weight goes to two shifted views, one up and left, one down and right, with
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
