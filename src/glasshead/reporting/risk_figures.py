"""Figures of a risk auditor: training history, ROC and precision-recall curves, localisation, and ablation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.reporting.figures import (
    message_figure,
    name_lines,
    new_figure,
    plain,
    plot_intervals,
)

# Okabe & Ito's palette, which colour-blind readers can tell apart
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "0.55"
PANELS = {  # title of a panel: columns of the training history, each with label, colour and line style
    "loss": {
        "train_loss": ("train, sum", BLUE, "-"),
        "validation_loss": ("validation, sum", ORANGE, "-"),
        "validation_bce": ("cross-entropy", GREEN, "--"),
        "validation_ranking": ("ranking", PURPLE, "--"),
        "validation_patch": ("patch", GREY, "--"),
    },
    "gap of logits": {
        "train_gap": ("train", BLUE, "-"),
        "validation_gap": ("validation", ORANGE, "-"),
    },
    "ranking, validation": {
        "validation_auroc": ("AUROC", BLUE, "-"),
        "validation_auprc": ("AUPRC", GREEN, "-"),
    },
    "localisation, validation": {
        "validation_pointing_game": ("pointing game", BLUE, "-"),
        "validation_iou": ("IoU", GREEN, "-"),
    },
}
MAPS = {
    "": "risk map",
    "_activation": "… before it is spread",
    "_grad_cam": "Grad-CAM of the usual classifier",
    "_grad_cam_own": "Grad-CAM of the auditor",
    "_centre": "Gaussian in the centre",
}
MEASURES = {"pointing_game": "pointing game", "iou": "IoU at the object's area"}

Metrics = Mapping[str, Mapping[str, Any]]
Ranked = tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]


def plot_training_history(training_history: pd.DataFrame) -> Figure:
    """Return a figure of losses, gap, ranking and localisation by epoch, as far as the training history has them."""
    figure = new_figure(10, 5.6)
    for axes, (title, curves) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for column, (label, colour, line) in curves.items():
            values = pd.to_numeric(training_history[column])
            if values.notna().any():
                marker = "o" if len(training_history) == 1 else None
                style = {"color": colour, "label": label, "marker": marker}
                axes.plot(training_history["epoch"], values, line, **style)
        _finish(axes, title, "epoch")
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
        else:
            axes.text(0.5, 0.5, "not known", ha="center", transform=axes.transAxes)
    return figure


def risk_curves_figure(ranked: Mapping[str, Ranked]) -> Figure:
    """Return a figure with ROC curve, precision-recall curve and logits of test images for each risk.

    `ranked` holds for each risk the logits, and which rows have the risk.
    """
    figure = new_figure(10, 0.4 + 3.1 * len(ranked))
    grid = figure.subplots(len(ranked), 3, squeeze=False)
    for line, (risk, (scores, positives)) in zip(grid, ranked.items(), strict=True):
        true_positives, false_positives = _cumulated(scores, positives)
        hits, misses = max(int(positives.sum()), 1), max(int((~positives).sum()), 1)
        line[0].plot(false_positives / misses, true_positives / hits, color=BLUE)
        line[0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
        line[0].set_ylabel("fraction of risks found")
        _finish(line[0], f"{plain(risk)}: ROC", "fraction of other images taken for it")
        counted = (true_positives + false_positives) > 0
        line[1].plot(
            (true_positives / hits)[counted],
            (true_positives / np.maximum(true_positives + false_positives, 1))[counted],
            color=BLUE,
        )
        line[1].axhline(positives.mean(), color=GREY, linestyle=":")
        line[1].set(ylabel="precision", ylim=(0, 1.03))
        _finish(line[1], "precision and recall", "fraction of risks found")
        bins = np.histogram_bin_edges(scores, 40)
        for chosen, label, colour in (
            (positives, "with the risk", ORANGE),
            (~positives, "without", BLUE),
        ):
            line[2].hist(scores[chosen], bins, color=colour, alpha=0.6, label=label)
        line[2].legend(frameon=False, fontsize=8)
        line[2].set_ylabel("test images")
        _finish(line[2], "scores", "raw logit")
    return figure


def plot_localisation(metrics: Metrics) -> Figure:
    """Return a figure of pointing game and IoU, with 95 % intervals, for the risk map and other maps."""
    if metrics["iou"]["value"] is None:
        return message_figure("Not measured: no masks of test images with a risk.")
    figure = new_figure(9, 2.6)
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (measure, title) in zip(grid, MEASURES.items(), strict=True):
        table = pd.DataFrame([metrics[f"{measure}{ending}"] for ending in MAPS])
        plot_intervals(axes, table[["value", "low", "high"]], BLUE, *[GREY] * (len(MAPS) - 1))
        _finish(axes, "", f"{title}, 95 % interval")
        axes.set_xlim(0, 1.02)
    name_lines(grid[0], MAPS.values(), 40)
    return figure


def risk_ablation_figure(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """Return a panel for each measure: every variant's mean with its 95 % interval over seeds.

    `table` has a row for each variant, with columns variant, <measure>, <measure>_low and <measure>_high. A line marks
    the first variant, the reference.
    """
    figure = new_figure(2.2 + 2.3 * len(measures), 1 + 0.32 * len(table))
    grid = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(grid, measures, strict=True):
        plot_intervals(axes, table[[measure, f"{measure}_low", f"{measure}_high"]], BLUE)
        axes.axvline(table[measure].iloc[0], color=GREY, linewidth=0.8)
        _finish(axes, "", measure.replace("_", " "))
    name_lines(grid[0], table["variant"], 40)
    return figure


def _cumulated(scores: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many rows with and without the risk lie above each threshold, from none to all."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true_positives = np.cumsum(positives[order])[ends]
    return np.append(0, true_positives), np.append(0, ends + 1 - true_positives)


def _finish(axes: Axes, title: str, xlabel: str) -> None:
    axes.set(title=title, xlabel=xlabel)
    axes.title.set_fontsize(10)
    axes.spines[["top", "right"]].set_visible(False)
