"""The two sides of a view: their explained images, their names, their concepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from matplotlib.axes import Axes

from glasshead.explainers.randomisation import Measures
from glasshead.explainers.stored import MethodMaps
from glasshead.reporting.figures import plain
from glasshead.reporting.panels import Arrays

Classes = Sequence[str]
Sides = Sequence[Classes]  # two

COLOURS = (
    "#009E73",
    "#CC79A7",
)  # Okabe and Ito's green and purple, as blue and vermillion are signs
HATCHES = ("", "////")
MOST = 9  # images of one side


@dataclass(frozen=True)
class Explained:
    """All explained images and their explanations; `shapley` is None for a classifier without concepts."""

    examples: pd.DataFrame
    pixels: np.ndarray
    methods: Mapping[str, MethodMaps]
    measures: Measures
    shapley: Arrays | None

    def of(self, classes: Classes) -> Bool[np.ndarray, " n"]:
        """Return which images are of these classes and have a map."""
        mapped = np.isin(
            np.arange(len(self.examples)),
            [row for maps in self.methods.values() for row in maps.rows],
        )
        return mapped & self.examples["label"].isin(classes).to_numpy()

    def confused(self, classes: Classes, other_side: Classes) -> Int[np.ndarray, " c"]:
        """Return the images of `classes` that were predicted as one of `other_side`."""
        return np.flatnonzero(self.of(classes) & self.examples["predicted"].isin(other_side))

    def chosen(self, classes: Classes, other_side: Classes) -> Int[np.ndarray, " m"]:
        """Return the images to show: those confused with the other side, then those in galleries, classes in turn."""
        rows = np.flatnonzero(self.of(classes))
        later = ~np.isin(rows, self.confused(classes, other_side))
        hidden = ~self.examples["shown"].to_numpy()[rows]
        labels = self.examples["label"].iloc[rows]
        turn = labels.groupby([labels.to_numpy(), hidden]).cumcount()
        return rows[np.lexsort((turn, hidden, later))][:MOST]


def plot_side_bars(axes: Axes, examples: pd.DataFrame, shapley: Arrays, sides: Sides) -> None:
    """Plot the mean |Shapley value| of each concept on either side, over images sampled at random."""
    drawn = examples[examples["measured"].to_numpy(bool)]
    groups = [drawn.loc[drawn["label"].isin(classes), "image_id"] for classes in sides]
    values = [np.abs(shapley["values"][np.isin(shapley["image_id"], ids)]) for ids in groups]
    means = [
        shapley_values.mean(axis=0) if len(shapley_values) else np.zeros(shapley_values.shape[1])
        for shapley_values in values
    ]
    order = np.sum(means, axis=0).argsort()
    for side, mean in enumerate(means):
        axes.barh(
            np.arange(len(order)) + 0.2 - 0.4 * side, mean[order], 0.38,
            color=COLOURS[side], hatch=HATCHES[side], edgecolor="white", linewidth=0,
            label=f"{class_names(sides[side], 22)} (n = {len(values[side])})",
        )  # fmt: skip
    axes.set_yticks(np.arange(len(order)), [plain(name, 18) for name in shapley["players"][order]])
    axes.tick_params(labelsize=7)
    label = f"mean |Shapley value| in {shapley['unit']},\nof images sampled at random"
    axes.set_xlabel(label, fontsize=7.5)
    axes.legend(
        fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0
    )
    axes.spines[["top", "right"]].set_visible(False)


def class_names(classes: Classes, longest: int = 70) -> str:
    """Return the classes of a side, shortened to `longest` characters."""
    return plain(", ".join(classes), longest)
