"""Figures that compare variants of a training over several seeds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.reporting.figures import new_figure, plain

RESOLVED, UNRESOLVED = "#0072B2", "0.55"  # Okabe & Ito 2008


def comparison_figure(table: pd.DataFrame, name: str, baseline: str) -> Figure:
    """Return accuracies and differences to `baseline` with 95 % intervals; unresolved differences are grey.

    `table` has a row for each variant, named by the column `name`, with accuracy, low, high, difference,
    difference_low, difference_high and verdict. The differences of `baseline` are null.
    """
    figure = new_figure(8, 0.8 + 0.4 * len(table))
    left, right = figure.subplots(1, 2, sharey=True)
    colours = [UNRESOLVED if word == "unresolved" else RESOLVED for word in table["verdict"]]
    _plot_intervals(left, table[["accuracy", "low", "high"]], [RESOLVED] * len(table))
    left.set_xlabel("test accuracy, 95 % interval over seeds")
    left.set_yticks(range(len(table)), [plain(label) for label in table[name]])
    left.invert_yaxis()
    differences = table[["difference", "difference_low", "difference_high"]]
    _plot_intervals(right, differences, colours)
    right.axvline(0, color="0.3", linewidth=0.8)
    right.set_xlabel(f"difference to {plain(baseline)}; grey: unresolved")
    return figure


def _plot_intervals(axes: Axes, table: pd.DataFrame, colours: list[str]) -> None:
    for line, ((value, low, high), colour) in enumerate(
        zip(table.astype(float).to_numpy(), colours, strict=True)
    ):
        axes.plot([low, high], [line, line], color=colour, linewidth=2)
        axes.plot(value, line, "o", color=colour)
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
