"""The gallery: every shown image beside its map by each method.

In figures of explained images, `examples` and `example_images["pixels"]` (n, 3, h, w) uint8 have the same order, and
maps refer to images by their row in it.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.explainers.randomisation import Measures, sanity_check
from glasshead.explainers.stored import MethodMaps, method_maps
from glasshead.reporting.figures import message_figure
from glasshead.reporting.map_plotting import method_title, plot_map, plot_scale
from glasshead.reporting.panels import Arrays, verdict
from glasshead.reporting.sheet import Sheet

LABEL, CELL, GAP, MARGIN = 1.35, 0.88, 0.05, 0.25  # inches
WIDEST = 16.5
NAME = 14  # characters
LINE = 0.125
FOOT = 0.95
CAPTION = "True class; for mistakes (✗) the predicted class; calibrated confidence."


def plot_explanation_gallery(
    examples: pd.DataFrame,
    example_images: Arrays,
    attributions: Arrays,
    explanations: Measures,
) -> Figure:
    """Return a row for each shown image: verdict, image, and the map of each method."""
    shown = np.flatnonzero(examples["shown"])
    methods = _shown_methods(attributions, shown)
    if not methods:
        return message_figure("No pixel method has explained any of the shown images.")
    titles = {name: method_title(name, maps, explanations, 13) for name, maps in methods.items()}
    head = 0.75 + LINE * (1 + max(title.count("\n") + 1 for title in titles.values()))
    width = LABEL + (len(methods) + 1) * (CELL + GAP) + MARGIN
    blocks = np.array_split(shown, max(1, min(3, len(shown), int(WIDEST // width))))
    sheet = Sheet(
        max(width * len(blocks), 8.5) + MARGIN,
        head + len(blocks[0]) * (CELL + GAP) + FOOT,
    )
    sheet.text(MARGIN, 0.2, "Why the predicted class? Each image by each method", 14)
    sheet.text(MARGIN, 0.46, CAPTION, 9)
    for block_index, block in enumerate(blocks):
        left = MARGIN + block_index * width
        _plot_titles(sheet, titles, left, head)
        for line, row in enumerate(block.tolist()):
            top = head + line * (CELL + GAP)
            label = verdict(examples.iloc[row], NAME, between="\n").replace(" taken for ", "\nas ")
            sheet.text(left, top + CELL / 2, label, 8.5, va="center")
            _plot_row(
                sheet, example_images["pixels"][row], methods, explanations, row, left + LABEL, top
            )
    plot_scale(sheet, MARGIN, sheet.height - FOOT + 0.2)
    return sheet.figure


def _shown_methods(attributions: Arrays, shown: np.ndarray) -> dict[str, MethodMaps]:
    methods = method_maps(attributions)
    return {name: maps for name, maps in methods.items() if np.isin(maps.rows, shown).any()}


def _plot_titles(sheet: Sheet, titles: dict[str, str], left: float, bottom: float) -> None:
    for column, title in enumerate(["image", *titles.values()]):
        middle = left + LABEL + column * (CELL + GAP) + CELL / 2
        weight = "bold" if "✗" in title else "normal"
        style = {"ha": "center", "va": "bottom", "weight": weight}
        sheet.text(middle, bottom - 0.05, title, 7.5, **style)


def _plot_row(
    sheet: Sheet,
    pixels: np.ndarray,
    methods: dict[str, MethodMaps],
    measures: Measures,
    row: int,
    left: float,
    top: float,
) -> None:
    sheet.image(pixels.transpose(1, 2, 0), left, top, CELL)
    for column, (name, maps) in enumerate(methods.items(), start=1):
        x = left + column * (CELL + GAP)
        plot_map(sheet, pixels, maps.of(row), sanity_check(name, measures), x, top, CELL)
