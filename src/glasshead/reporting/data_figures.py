"""Figures of `preprocess`: images by class and split, and mean images. Colours: Okabe & Ito's palette."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image

from glasshead.images.table import ImageTable
from glasshead.progress import reported
from glasshead.reporting.figures import new_figure, plain

COLOURS = {"train": "#0072B2", "validation": "#56B4E9", "calibration": "#E69F00", "test": "#D55E00"}
MAX_CLASSES = 60  # more classes would not be legible in one figure
LARGEST = 128  # pixels of a side; a larger mean image would show no more detail


def plot_class_balance(samples: pd.DataFrame) -> Figure:
    """Return the number of images of each class, stacked by split, the largest class on top.

    If there are more than 60 classes, the 30 largest and the 30 smallest are shown.
    """
    counts = pd.crosstab(samples["label"], samples["split"]).reindex(columns=list(COLOURS))
    counts = counts.fillna(0).astype(int)
    order = counts.sum(axis=1).sort_values(kind="stable", ascending=False).index
    shown = [*order] if len(order) <= MAX_CLASSES else [*order[:30], *order[-30:]]
    counts = counts.loc[shown[::-1]]
    figure = new_figure(8, 1.6 + 0.3 * len(counts))
    axes = figure.subplots()
    left = pd.Series(0, index=counts.index)
    for split, colour in COLOURS.items():
        total = int((samples["split"] == split).sum())
        label = f"{split} ({total:,})"
        axes.barh(range(len(counts)), counts[split], left=left, color=colour, label=label)
        left = left + counts[split]
    axes.set_yticks(range(len(counts)), [plain(name) for name in counts.index])
    title = "Images by class and split"
    if len(shown) < len(order):
        title += f"\nthe 30 largest and the 30 smallest of {len(order)} classes"
    axes.set(xlabel="images", title=title)
    axes.margins(y=0.02)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(COLOURS), frameon=False)
    return figure


class MeanImage(NamedTuple):
    """A mean image: `pixels` in [0, 1], averaged over `n` images."""

    pixels: Float[np.ndarray, "h w 3"]
    n: int


def mean_images(images: ImageTable, labels: pd.Series) -> dict[str, MeanImage]:
    """Return the mean image of each label; the index of `labels` holds the images' rows in the image table.

    Images are read one at a time and resized to a common square. Its side is the shorter side of the first image, but
    at most 128 pixels.
    """
    sums: dict[str, np.ndarray] = {}
    side = min(*images.pil(labels.index[0]).size, LARGEST) if len(labels) else 0
    rows = reported(labels.index, "images averaged", len(labels))
    for row, label in zip(rows, labels, strict=True):
        image = images.pil(int(row)).resize((side, side), Image.Resampling.BILINEAR)
        total = sums.setdefault(label, np.zeros((side, side, 3)))
        total += np.asarray(image)
    counts = labels.value_counts()
    return {
        label: MeanImage(sums[label] / (255 * n), int(n))
        for label, n in zip(counts.index, counts, strict=True)
    }


def mean_images_figure(means: Mapping[str, MeanImage], classes: Sequence[str]) -> Figure:
    """Return a figure with the mean images of the first 60 classes."""
    shown = [name for name in classes if name in means][:MAX_CLASSES]
    columns = min(5, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(1.7 * columns, 2.0 * rows + 0.4)
    figure.suptitle("Mean train image of each class")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.axis("off")
    for axes, name in zip(figure.axes, shown, strict=False):
        axes.imshow(means[name].pixels, interpolation="nearest")
        axes.set_title(f"{plain(name)}\nn = {means[name].n:,}", fontsize=9)
    return figure
