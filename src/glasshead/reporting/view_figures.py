"""Views: two groups of classes beside each other, with their images, maps and concepts."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.explainers.randomisation import Measures, best_methods, sanity_check
from glasshead.explainers.stored import method_maps
from glasshead.reporting.figures import message_figure, plain
from glasshead.reporting.map_plotting import plot_map, plot_scale
from glasshead.reporting.panels import AGAINST, Arrays
from glasshead.reporting.sheet import Sheet
from glasshead.reporting.view_sides import (
    COLOURS,
    Classes,
    Explained,
    Sides,
    class_names,
    plot_side_bars,
)

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
    """Return up to 9 explained images of either side of each view, with their maps, confused images first.

    With concepts, also the mean |Shapley value| of each concept on either side, over images sampled at random.
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
