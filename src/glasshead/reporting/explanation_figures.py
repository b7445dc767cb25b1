"""Figures of explanations: concept contributions as signed bars, pixel attributions as maps over the image.

Wherever several arguments describe images, they hold the same images in the same order: `examples` with a row each,
`example_images["pixels"]` (n, 3, h, w) uint8, and the arrays of the explanation.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from glasshead.reporting.figures import message_figure, plain

Arrays = dict[str, np.ndarray]

# Okabe and Ito's blue and vermillion, told apart with any colour vision
FOR, AGAINST = "#0072B2", "#D55E00"
SIGNED = LinearSegmentedColormap.from_list("against_for", [AGAINST, "white", FOR])
NO_CONCEPTS = "This classifier has no concepts; its attribution maps explain it by pixels."
COLUMNS = 4
MAP_PERCENTILE = 99


def plot_shapley_images(examples: pd.DataFrame, example_images: Arrays, shapley: Arrays) -> Figure:
    """Return a panel per image: what each concept subtask added to the predicted class's probability."""
    players = len(shapley["players"])
    if not players:
        return message_figure(NO_CONCEPTS)
    figure, panels, foot = _panels(len(examples), width=4.6, height=0.8 + 0.19 * players)
    figure.suptitle("What each concept adds to the probability of the predicted class", fontsize=14)
    limit = max(float(np.abs(shapley["values"]).max()), 0.01)
    for index, (panel, example) in enumerate(zip(panels, _rows(examples), strict=False)):
        picture, bars = panel.subplots(1, 2, width_ratios=(1, 1.8))
        _draw_image(picture, example_images["pixels"][index])
        base, output = shapley["base"][index], shapley["output"][index]
        picture.set_xlabel(f"{plain(example.predicted)}:\n{base:.2f} → {output:.2f}", fontsize=9)
        _draw_bars(bars, shapley, index, limit)
        panel.suptitle(_verdict(example), fontsize=10)
    foot.suptitle(
        "Shapley values in probability, one scale for all: blue speaks for the predicted class, vermillion against.\n"
        "Beside each concept, its likeliest value and the raw probability that the meta-learner reads. Under each "
        "image, the step that\nthe bars add up to: from the predicted class's average over background images to its "
        "probability here.",
        fontsize=9,
    )
    return figure


def plot_shapley_global(shapley: Arrays) -> Figure:
    """Return the mean absolute Shapley value of each concept subtask, with a dot for every image."""
    values: Float[np.ndarray, "n p"] = np.abs(shapley["values"])
    if not values.shape[1]:
        return message_figure(NO_CONCEPTS)
    order = values.mean(axis=0).argsort()
    places = np.arange(len(order))
    figure = Figure(figsize=(8, 1.4 + 0.34 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, values.mean(axis=0)[order], color=FOR, alpha=0.35, label="mean")
    dots = values[:, order].ravel(), np.tile(places, len(values))
    axes.scatter(*dots, s=14, color=FOR, alpha=0.6, linewidths=0, label="one image")
    axes.set_yticks(places, [plain(name) for name in shapley["players"][order]])
    axes.set_xlabel("|Shapley value|: change in the probability of the predicted class")
    axes.set_title(f"Which concepts decide ({len(values)} test images)")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_attribution_maps(
    examples: pd.DataFrame, example_images: Arrays, attributions: Arrays
) -> Figure:
    """Return image, Integrated Gradients map (summed over channels) and overlay of each image."""
    figure, panels, foot = _panels(len(examples), width=4, height=1.75)
    figure.suptitle("Integrated Gradients of the predicted class: image, map, overlay", fontsize=14)
    for index, (panel, example) in enumerate(zip(panels, _rows(examples), strict=False)):
        signed = attributions["integrated_gradients"][index].sum(axis=0, dtype=float)
        scale = float(np.percentile(np.abs(signed), MAP_PERCENTILE)) or 1.0
        _draw_map(panel, example_images["pixels"][index], signed / scale)
        panel.suptitle(f"{_verdict(example)}\nscale: {scale:.2g} logits a pixel", fontsize=9)
    bar = foot.colorbar(
        ScalarMappable(Normalize(-1, 1), SIGNED), cax=foot.add_axes((0.3, 0.72, 0.4, 0.16)),
        orientation="horizontal", ticks=(-1, 0, 1),
    )  # fmt: skip
    bar.ax.set_xticklabels(["lowers its logit", "0", "raises its logit"], fontsize=9)
    foot.text(
        0.5, 0.12,
        "Channels are summed. Full colour is each image's own scale, the "
        f"{MAP_PERCENTILE}th percentile of its |map|.",
        ha="center", fontsize=9,
    )  # fmt: skip
    return figure


def _panels(
    count: int, width: float, height: float
) -> tuple[Figure, Iterator[SubFigure], SubFigure]:
    """Return a figure, its grid of `count` or more panels of `width` by `height` inches, and a foot below them."""
    columns = min(COLUMNS, max(2, count))
    rows = -(-count // columns)
    title, foot = 0.4, 0.7
    figure = Figure(figsize=(width * columns, height * rows + title + foot), layout="constrained")
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=(height * rows, foot))
    grid, bottom = halves[:, 0]
    return figure, iter(grid.subfigures(rows, columns, squeeze=False, hspace=0.03).flat), bottom


def _rows(examples: pd.DataFrame) -> Iterator[Any]:
    return examples.itertuples(index=False)


def _verdict(example: Any) -> str:
    label, predicted = plain(example.label), plain(example.predicted)
    names = f"✓ {label}" if example.correct else f"✗ {label} taken for {predicted}"
    return f"{names}, confidence {example.confidence:.2f}"


def _draw_image(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels.transpose(1, 2, 0))
    axes.set(xticks=[], yticks=[])


def _draw_bars(axes: Axes, shapley: Arrays, index: int, limit: float) -> None:
    values = shapley["values"][index]
    order = np.abs(values).argsort()
    places = np.arange(len(order))
    bars = axes.barh(places, values[order], color=np.where(values[order] < 0, AGAINST, FOR))
    axes.bar_label(bars, fmt="%+.2f", padding=2, fontsize=7)
    labels = [_likeliest_value(shapley, index, player) for player in order]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(-1.45 * limit, 1.45 * limit)  # room for the numbers
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _likeliest_value(shapley: Arrays, index: int, player: int) -> str:
    columns = np.flatnonzero(shapley["concept_player"] == player)
    likeliest = columns[shapley["concepts"][index, columns].argmax()]
    name, value = shapley["players"][player], shapley["concept_value"][likeliest]
    return f"{plain(name)}: {plain(value)} {shapley['concepts'][index, likeliest]:.2f}"


def _draw_map(panel: SubFigure, pixels: np.ndarray, relative: Float[np.ndarray, "h w"]) -> None:
    """Draw image, map and overlay side by side; `relative` has full colour at -1 and 1."""
    original, alone, overlay = panel.subplots(1, 3)
    _draw_image(original, pixels)
    alone.imshow(relative, cmap=SIGNED, vmin=-1, vmax=1)
    overlay.imshow(pixels.mean(axis=0), cmap="gray", vmin=0, vmax=255)
    strength = np.clip(np.abs(relative), 0, 1)
    overlay.imshow(relative, cmap=SIGNED, vmin=-1, vmax=1, alpha=strength)
    for axes in (alone, overlay):
        axes.set(xticks=[], yticks=[])
