"""Figures of `evaluate`: where a classifier is wrong, and whether its confidence shows this."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from glasshead.calibration.metrics import ReliabilityCurve
from glasshead.images.table import ImageTable
from glasshead.reporting.figures import message_figure, new_figure, plain

# Okabe & Ito's palette, which colour-blind readers can tell apart.
BEFORE, AFTER, NEUTRAL = "#D55E00", "#0072B2", "#555555"
MAX_ANNOTATED = 25  # classes; with more, counts would not be legible
MARKED = (0.01, 0.1, 0.5)  # fractions of images, as marks in the legend of reliability


def confusion_matrix_figure(counts: Int[np.ndarray, "k k"], classes: Sequence[str]) -> Figure:
    """Return the confusion matrix: counts of true (rows) against predicted class, shaded by fraction of the row."""
    k = len(classes)
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(2.8 + 0.52 * k, 16)
    figure = new_figure(size + 0.8, size)
    axes = figure.subplots()
    # The square root makes rare confusions visible beside a diagonal near 1.
    picture = axes.imshow(fraction, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix, test images")
    axes.set_xticks(range(k), [plain(name) for name in classes], rotation=45, ha="right")
    axes.set_yticks(range(k), [plain(name) for name in classes])
    if k <= MAX_ANNOTATED:
        for row, column in np.argwhere(counts):
            colour = "white" if fraction[row, column] > 0.4 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    figure.colorbar(
        picture,
        ax=axes,
        label="fraction of the true class",
        ticks=[0, 0.01, 0.05, 0.2, 0.5, 1],
        format=PercentFormatter(1, decimals=0),
        shrink=0.8,
    )
    return figure


def plot_class_recall(class_recall: pd.DataFrame) -> Figure:
    """Return recall with its interval, the worst class on top; columns are class, n, recall, low and high.

    A class with undefined recall has a line without a mark.
    """
    table = class_recall.sort_values(
        "recall", ascending=False, na_position="first", ignore_index=True
    )
    figure = new_figure(7.5, min(1.5 + 0.34 * len(table), 16))
    axes = figure.subplots()
    axes.hlines(table.index, table["low"], table["high"], color=AFTER, linewidth=2.5, alpha=0.5)
    axes.plot(table["recall"], table.index, "o", color=AFTER)
    axes.set_yticks(
        table.index, [f"{plain(row['class'])} (n = {row['n']:.0f})" for _, row in table.iterrows()]
    )
    axes.set(
        xlabel="recall, with 95 % Wilson interval",
        title="Recall by class, test images",
        xlim=(-0.02, 1.02) if table["recall"].isna().all() else None,
        ylim=(-0.6, len(table) - 0.4),
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", alpha=0.3)
    return figure


def reliability_figure(panels: Mapping[str, tuple[ReliabilityCurve, ReliabilityCurve]]) -> Figure:
    """Return a figure with a panel for each name: accuracy against confidence, before and after temperature scaling.

    The area of a mark shows the fraction of images in the bin.
    """
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(2.75 * max(columns, 2), 2.9 * rows + 1.0)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, (before, after)) in zip(grid.flat, panels.items(), strict=False):
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":", label="calibrated")
        _plot_curve(axes, before, BEFORE, "s", "before scaling")
        _plot_curve(axes, after, AFTER, "o", "after scaling")
        axes.set_title(f"{plain(name)}\nECE {before.ece:.3f} → {after.ece:.3f}", fontsize=10)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.03), aspect="equal", xticks=[0, 0.5, 1])
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes in grid.flat[max(len(panels) - columns, 0) : len(panels)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("mean confidence of bin")
    for fraction in MARKED:
        label = f"bin with {fraction:.0%} of the images"
        grid[0, 0].scatter([], [], _area(fraction), NEUTRAL, linewidths=0, label=label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=3 if columns > 2 else 2,
        fontsize=8,
        frameon=False,
    )
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy in bin")
    figure.suptitle("Reliability on test images, before and after temperature scaling")
    return figure


def confused_pairs_figure(pairs: pd.DataFrame, images: ImageTable) -> Figure:
    """Return example images of each pair; `pairs` has true, predicted, count, fraction and examples."""
    if pairs.empty:
        return message_figure("No test image was misclassified")
    frame = images.frame()
    row_of = pd.Series(np.arange(len(frame)), index=frame["image_id"])
    examples = [json.loads(text) for text in pairs["examples"]]
    width = max(map(len, examples))
    figure = new_figure(max(5.5, 2.4 + 1.05 * width), 0.6 + 1.1 * len(pairs))
    figure.suptitle("Most confused classes, most confident mistakes first")
    grid = figure.subplots(len(pairs), width + 1, squeeze=False, width_ratios=[2.2] + [1] * width)
    for axes in grid.flat:
        axes.axis("off")
    for line, (_, pair), ids in zip(grid, pairs.iterrows(), examples, strict=True):
        line[0].text(1, 0.5, _pair_text(pair), ha="right", va="center", fontsize=9.5)
        for axes, image_id in zip(line[1:], ids, strict=False):
            axes.imshow(np.asarray(images.pil(int(row_of[image_id]))), interpolation="nearest")
    return figure


def _plot_curve(axes: Axes, curve: ReliabilityCurve, colour: str, marker: str, name: str) -> None:
    x, y = curve.confidence, curve.accuracy
    axes.plot(x, y, color=colour, marker=marker, markersize=3, linewidth=1, label=name)
    axes.scatter(x, y, _area(curve.fraction), colour, marker=marker, alpha=0.6, linewidths=0)


def _area(fraction: Float[np.ndarray, " b"] | float) -> Float[np.ndarray, " b"] | float:
    """Return the area of a mark in square points; a bin of one image stays visible."""
    return 8 + 150 * fraction


def _pair_text(pair: pd.Series) -> str:
    names = f"{plain(pair['true'])}\ntaken for {plain(pair['predicted'])}"
    return f"{names}\nn = {pair['count']}, {pair['fraction']:.1%} of the class"
