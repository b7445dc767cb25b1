"""Explanations of single predictions, as images of the pixels that the classifier saw."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from glasshead.errors import ParameterError
from glasshead.explainers.methods import METHODS, real_methods
from glasshead.explainers.passes import Budget
from glasshead.files import write_atomically
from glasshead.models.classifier import Classifier, as_images
from glasshead.reporting.map_plotting import overlay

SIDE = 224  # pixels: images are enlarged to the largest multiple of their side up to this


def check_method(classifier: Classifier, name: str) -> None:
    """Raise ParameterError if the method `name` is unknown or does not apply; the message lists those that do."""
    usable = [
        method for method in real_methods(METHODS) if METHODS[method].applies_to(classifier) is None
    ]
    if name in usable:
        return
    known = name in real_methods(METHODS)
    reason = METHODS[name].applies_to(classifier) if known else "there is no such method."
    raise ParameterError(f"Cannot explain by {name}: {reason} Choose one of {', '.join(usable)}.")


def write_explanation(
    classifier: Classifier,
    method: str,
    pixels: UInt8[Tensor, "1 3 h w"],
    probabilities: Mapping[str, float],
    folder: Path,
) -> Path | None:
    """Write a PNG into `folder`, named after its content; return its path, or None if the map is not finite.

    The left half is the image as the classifier sees it. The right half shows the evidence for the predicted class in
    blue, and against it in orange.
    """
    target = torch.tensor([int(np.argmax(list(probabilities.values())))])
    explained = METHODS[method](classifier, as_images(pixels), target, Budget())
    if not np.isfinite(explained.maps).all():
        return None
    seen = pixels[0].numpy()
    digest = hashlib.sha256(seen.tobytes() + repr(dict(probabilities)).encode()).hexdigest()
    path = folder / f"{digest[:16]}-{method}.png"
    with write_atomically(path) as temporary:
        temporary.write_bytes(_draw(seen, overlay(seen, explained.maps[0])))
    return path


def _draw(seen: UInt8[np.ndarray, "3 h w"], coloured: np.ndarray) -> bytes:
    right = (255 * coloured).round().astype(np.uint8)
    sheet = np.concatenate([seen.transpose(1, 2, 0), right], axis=1)
    factor = max(1, SIDE // len(sheet))
    buffer = io.BytesIO()
    Image.fromarray(sheet.repeat(factor, axis=0).repeat(factor, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()
