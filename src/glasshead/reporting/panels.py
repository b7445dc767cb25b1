"""What figures of explained images share: colours, panels, verdicts, images, bars of concepts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from glasshead.reporting.figures import LONGEST, new_figure, plain

Arrays = dict[str, np.ndarray]

# Okabe and Ito's blue and vermillion, which colour-blind readers can tell apart
FOR, AGAINST = "#0072B2", "#D55E00"
COLUMNS = 4
TWO_SIDED_95 = 1.96  # half the width of a 95 % interval, in standard errors


def panels(
    count: int, width: float, height: float
) -> tuple[Figure, Iterator[SubFigure], SubFigure]:
    """Return a figure, a grid of at least `count` panels of `width` by `height` inches, and a foot below them."""
    columns = min(COLUMNS, max(2, count))
    rows = -(-count // columns)
    title, foot = 0.4, 0.7
    figure = new_figure(width * columns, height * rows + title + foot)
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=(height * rows, foot))
    grid, bottom = halves[:, 0]
    return figure, iter(grid.subfigures(rows, columns, squeeze=False, hspace=0.03).flat), bottom


def verdict(example: Any, longest: int = LONGEST, between: str = ", ") -> str:
    """Return as text whether the classifier is right, the true and predicted class, and the calibrated confidence."""
    label, predicted = plain(example.label, longest), plain(example.predicted, longest)
    names = f"✓ {label}" if example.correct else f"✗ {label} taken for {predicted}"
    return f"{names}{between}confidence {example.confidence:.2f}"


def plot_image(axes: Axes, pixels: np.ndarray) -> None:
    """Plot an image (3, h, w) without ticks."""
    axes.imshow(pixels.transpose(1, 2, 0))
    axes.set(xticks=[], yticks=[])


def plot_concept_bars(
    axes: Axes,
    shapley: Arrays,
    index: int,
    limit: float,
    most: int | None = None,
    longest: int = LONGEST,
) -> None:
    """Plot the `most` largest Shapley values of image `index`, the largest on top, on an axis from -limit to limit.

    Labels give the concept, its likeliest value and that value's probability. Estimates have 95 % error bars.
    """
    values, error = shapley["values"][index], shapley.get("standard_error")
    order = np.abs(values).argsort()[-most if most else 0 :]
    heights = np.arange(len(order))
    bars = axes.barh(
        heights,
        values[order],
        xerr=None if error is None else TWO_SIDED_95 * error[index, order],
        color=np.where(values[order] < 0, AGAINST, FOR),
        error_kw={"linewidth": 0.8, "capsize": 1.5},
    )
    axes.bar_label(bars, fmt=signed, padding=2, fontsize=7)
    labels = [likeliest_value(shapley, index, player, longest) for player in order]
    axes.set_yticks(heights, labels, fontsize=8)
    axes.set_xlim(-1.45 * limit, 1.45 * limit)  # leaves room for the numbers beside the bars
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)


def signed(value: float) -> str:
    """Return the value with a sign and two decimals; 0.00 has no sign."""
    text = f"{value:+.2f}"
    return text if float(text) else text[1:]


def likeliest_value(shapley: Arrays, index: int, player: int, longest: int = LONGEST) -> str:
    """Return the likeliest value of a player's concept on image `index`, such as "legs: four 0.80".

    For a player that is a single value, return this value and its probability.
    """
    columns = np.flatnonzero(shapley["concept_player"] == player)
    likeliest = columns[shapley["concepts"][index, columns].argmax()]
    value = shapley["concept_value"][likeliest]
    name = str(shapley["players"][player]).removesuffix(f"/{value}")
    probability = shapley["concepts"][index, likeliest]
    return f"{plain(name, longest)}: {plain(value, longest)} {probability:.2f}"


def count_subtasks(shapley: Arrays) -> int:
    """Return the number of concepts, also if the players are single values such as legs/four."""
    return len({str(player).split("/")[0] for player in shapley["players"]})
