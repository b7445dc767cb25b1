"""Views: two groups of classes (sides) beside each other, with their images, maps and concepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glasshead.explainers.methods import MethodMaps, method_maps
from glasshead.explainers.randomisation import Measures, best_methods, sanity_check
from glasshead.reporting.figures import Sheet, message_figure, plain
from glasshead.reporting.map_plotting import plot_map, plot_scale
from glasshead.reporting.panels import AGAINST, Arrays

Classes = Sequence[str]
Sides = Sequence[Classes]  # two

# Okabe and Ito's green and purple, as blue and vermillion already show signs
COLOURS = ("#009E73", "#CC79A7")
HATCHES = ("", "////")
MOST = 9  # images shown of one side


@dataclass(frozen=True)
class Explained:
    """All explained images and their explanations; `shapley` is None for a classifier without concepts."""

    examples: pd.DataFrame
    pixels: np.ndarray
    methods: Mapping[str, MethodMaps]
    measures: Measures
    shapley: Arrays | None

    def of(self, classes: Classes) -> Bool[np.ndarray, " n"]:
        """Return which images have one of these classes as label, and have a map."""
        mapped = np.isin(
            np.arange(len(self.examples)),
            [row for maps in self.methods.values() for row in maps.rows],
        )
        return mapped & self.examples["label"].isin(classes).to_numpy()

    def confused(self, classes: Classes, other_side: Classes) -> Int[np.ndarray, " c"]:
        """Return the images of `classes` that were predicted as one of `other_side`."""
        return np.flatnonzero(self.of(classes) & self.examples["predicted"].isin(other_side))

    def chosen(self, classes: Classes, other_side: Classes) -> Int[np.ndarray, " m"]:
        """Return the images to show: first those confused with the other side, then those in galleries, by class."""
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


CELL, GAP, MARGIN = 0.95, 0.16, 0.3  # inches
CAPTION = 0.42
COLUMNS = 3  # images a line
SIDE = COLUMNS * (2 * CELL + GAP) + 0.3
BAR_LABELS, BARS, BARS_HEIGHT = 1.3, 2.1, 2.5
TITLE, HEAD, FOOT = 0.65, 0.75, 1.35
NOTE = (
    "Sides are by true class; a framed image was taken for a class of the other side. Under each image: its verdict "
    "with the\ncalibrated confidence, and the map's method. This is the one with the highest insertion AUC among those "
    "that explained the image\nand pass the randomisation check, or else the best of the others, marked ✗ (fails) or ? "
    "(not checked)."
)
BARS_NOTE = "\nBars are means over the n explained images of a side that were sampled at random from the test split."


def explanation_views_figure(
    examples: pd.DataFrame,
    example_images: Arrays,
    attributions: Arrays,
    explanations: Measures,
    views: Mapping[str, Sides],
    shapley: Arrays | None = None,
) -> Figure:
    """Return a figure with up to 9 explained images of each side of each view, with maps; confused images come first.

    With concepts, it also shows the mean |Shapley value| of each concept on both sides, over images sampled at random.
    """
    if not views:
        return message_figure("This data lacks classes of all views in explain.views.")
    explained = Explained(
        examples, example_images["pixels"], method_maps(attributions), explanations, shapley
    )
    heights = [_height(explained, sides) for sides in views.values()]
    width = 2 * (SIDE + MARGIN) + (BAR_LABELS + BARS if shapley is not None else 0)
    sheet = Sheet(width, TITLE + sum(heights) + FOOT)
    sheet.text(MARGIN, 0.2, "Explanations, two sides of the classes beside each other", 14)
    tops = TITLE + np.cumsum([0, *heights])
    for top, (name, sides) in zip(tops, views.items(), strict=False):
        _plot_view(sheet, explained, name, sides, float(top))
    plot_scale(sheet, MARGIN, sheet.height - FOOT + 0.15)
    note = NOTE + (BARS_NOTE if shapley is not None else "")
    sheet.text(MARGIN, sheet.height - FOOT + 0.72, note, 8)
    return sheet.figure


def _height(explained: Explained, sides: Sides) -> float:
    most = max(len(explained.chosen(*pair)) for pair in (sides, sides[::-1]))
    images = HEAD + -(-most // COLUMNS) * (CELL + CAPTION) + 0.1
    return max(images, HEAD + BARS_HEIGHT if explained.shapley is not None else 0)


def _plot_view(sheet: Sheet, explained: Explained, name: str, sides: Sides, top: float) -> None:
    sheet.box(MARGIN, top, sheet.width - 2 * MARGIN, 0.01, facecolor="0.6", edgecolor="none")
    sheet.text(MARGIN, top + 0.08, plain(name, 60), 12, weight="bold")
    for side, classes in enumerate(sides):
        left, other_side = MARGIN + side * SIDE, sides[1 - side]
        rows = explained.chosen(classes, other_side)
        total, confused = explained.of(classes).sum(), len(explained.confused(classes, other_side))
        text = f"{len(rows)} of {total} explained images; {confused} of them all taken for the other side"
        sheet.text(left, top + 0.32, class_names(classes), 9, color=COLOURS[side], weight="bold")
        sheet.text(left, top + 0.5, text, 8)
        for index, row in enumerate(rows):
            line, column = divmod(index, COLUMNS)
            x, y = left + column * (2 * CELL + GAP), top + HEAD + line * (CELL + CAPTION)
            _plot_example(sheet, explained, int(row), other_side, x, y)
    if explained.shapley is not None:
        left = MARGIN + 2 * SIDE + BAR_LABELS
        axes = sheet.axes(left, top + HEAD, BARS, BARS_HEIGHT - 0.5)
        plot_side_bars(axes, explained.examples, explained.shapley, sides)


def _plot_example(
    sheet: Sheet, explained: Explained, row: int, other_side: Classes, x: float, y: float
) -> None:
    example, pixels = explained.examples.iloc[row], explained.pixels[row]
    available = [name for name, maps in explained.methods.items() if maps.of(row) is not None]
    (name,) = best_methods(available, explained.measures, 1)
    sheet.image(pixels.transpose(1, 2, 0), x, y, CELL)
    check = sanity_check(name, explained.measures)
    plot_map(sheet, pixels, explained.methods[name].of(row), check, x + CELL, y, CELL)
    if example["predicted"] in other_side:
        frame = {"facecolor": "none", "edgecolor": AGAINST, "linewidth": 2.5}
        sheet.box(x, y, 2 * CELL, CELL, **frame)
    label, predicted = plain(example["label"], 12), plain(example["predicted"], 12)
    said = f"✓ {label}" if example["correct"] else f"✗ {label} as {predicted}"
    sheet.text(x, y + CELL + 0.05, f"{said}, {example['confidence']:.2f}", 7.5)
    sheet.text(x, y + CELL + 0.19, plain(name.replace("_", " "), 36), 7, color="0.35")
