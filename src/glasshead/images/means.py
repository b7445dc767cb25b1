"""The mean image of each class."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from glasshead.images.table import ImageTable

LARGEST = 128  # pixels a side; a larger mean image shows no more detail


class MeanImage(NamedTuple):
    """`pixels` in [0, 1], and the number of images they are the mean of."""

    pixels: Float[np.ndarray, "h w 3"]
    n: int


def mean_images(images: ImageTable, labels: pd.Series) -> dict[str, MeanImage]:
    """Return the mean of the images of each label; the index of `labels` holds their rows.

    Images are read one at a time and resized to one square, whose side is the shorter one of the first image, at most
    128 pixels.
    """
    sums: dict[str, np.ndarray] = {}
    side = min(*images.pil(labels.index[0]).size, LARGEST) if len(labels) else 0
    for row, label in zip(labels.index, labels, strict=True):
        image = images.pil(int(row)).resize((side, side), Image.Resampling.BILINEAR)
        total = sums.setdefault(label, np.zeros((side, side, 3)))
        total += np.asarray(image)
    counts = labels.value_counts()
    return {
        label: MeanImage(sums[label] / (255 * n), int(n))
        for label, n in zip(counts.index, counts, strict=True)
    }
