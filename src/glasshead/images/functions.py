"""Named image functions: questions whose answers depend only on pixels. Thresholds are fixed, never fitted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 32  # pixels; images are first resized to it, so that answers do not depend on resolution
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class ImageFunction:
    """A measure of an RGB image in [0, 1] `(h, w, 3)`, cut at `thresholds` into `values`."""

    values: tuple[str, ...]
    measure: Callable[[np.ndarray], float]
    thresholds: tuple[float, ...]

    def __call__(self, image: Image.Image) -> int:
        """Return the index of the answer; a measure equal to a threshold belongs to the upper value."""
        return int(np.searchsorted(self.thresholds, self.measure(_small(image)), side="right"))


def _small(image: Image.Image) -> np.ndarray:
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float64) / 255


def dominant_channel(pixels: np.ndarray) -> float:
    """Index of the channel with the largest mean: 0 red, 1 green, 2 blue; the first one in a tie."""
    return float(np.argmax(pixels.mean(axis=(0, 1))))


def brightness(pixels: np.ndarray) -> float:
    """Mean luma in [0, 1]."""
    return float((pixels @ LUMA).mean())


def saturation(pixels: np.ndarray) -> float:
    """Mean difference between a pixel's largest and smallest channel, in [0, 1]."""
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def texture(pixels: np.ndarray) -> float:
    """Mean absolute luma difference between neighbouring pixels, in [0, 1]."""
    luma = pixels @ LUMA
    return float((np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2)


IMAGE_FUNCTIONS = {
    "dominant_channel": ImageFunction(("red", "green", "blue"), dominant_channel, (0.5, 1.5)),
    "brightness": ImageFunction(("dark", "medium", "bright"), brightness, (0.43, 0.55)),
    "saturation": ImageFunction(("grey", "muted", "vivid"), saturation, (0.12, 0.22)),
    "texture": ImageFunction(("smooth", "grained", "busy"), texture, (0.035, 0.05)),
}
