"""Images beside their maps: the gallery of methods, and maps of the answers of concepts.

In figures of explained images, `examples` and `example_images["pixels"]` (n, 3, h, w) uint8 have the same order; maps
refer to images by their row in this order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.explainers.methods import method_maps
from glasshead.explainers.randomisation import Measures, sanity_check
from glasshead.reporting.figures import Sheet, message_figure, plain
from glasshead.reporting.map_plotting import method_title, plot_map, plot_scale
from glasshead.reporting.panels import AGAINST, Arrays, verdict

LABEL, CELL, MARGIN = 1.35, 0.88, 0.25  # inches
FOOT = 1.05
LINE = 0.125
NAME = 14  # characters
GALLERY_CAPTION = "True class; for mistakes (✗) the predicted class; calibrated confidence."
ANSWERS_CAPTION = (
    "Under each map: the likeliest value and its raw probability; ✗ where it is wrong."
)
NO_MAPS = (
    "No concept's answer is explained by pixels: either the classifier has no concepts, "
    "or no method of explain.concepts.maps applies to it."
)


class Layout(NamedTuple):
    """How rows of images are placed, side by side in blocks; lengths are in inches.

    Attributes:
        head: height above the rows.
        row: height of a row.
        gap: space between columns.
        widest: the largest width of all blocks together.
        most_blocks: the largest number of blocks.
    """

    head: float
    row: float
    gap: float
    widest: float
    most_blocks: int


# plots the maps of an image: (sheet, index among shown images, row among explained images, x of the first map, y)
PlotMaps = Callable[[Sheet, int, int, float, float], None]


def plot_explanation_gallery(
    examples: pd.DataFrame, example_images: Arrays, attributions: Arrays, explanations: Measures
) -> Figure:
    """Return a figure with a row for each shown image: verdict, image, and the map of each method."""
    shown, pixels = np.flatnonzero(examples["shown"]), example_images["pixels"]
    methods = {
        name: maps
        for name, maps in method_maps(attributions).items()
        if np.isin(maps.rows, shown).any()
    }
    if not methods:
        return message_figure("No pixel method has explained any of the shown images.")
    titles = [method_title(name, maps, explanations, 13) for name, maps in methods.items()]
    head = 0.75 + LINE * (1 + max(title.count("\n") + 1 for title in titles))
    layout = Layout(head, row=CELL + 0.05, gap=0.05, widest=16.5, most_blocks=3)

    def plot_maps(sheet: Sheet, index: int, row: int, left: float, top: float) -> None:
        for column, (name, maps) in enumerate(methods.items()):
            x, check = left + column * (CELL + layout.gap), sanity_check(name, explanations)
            plot_map(sheet, pixels[row], maps.of(row), check, x, top, CELL)

    title = "Why the predicted class? Each image by each method"
    sheet = _plot_images((title, GALLERY_CAPTION), examples, pixels, titles, layout, plot_maps)
    plot_scale(sheet, MARGIN, sheet.height - FOOT + 0.2)
    return sheet.figure


def plot_answer_maps(
    examples: pd.DataFrame, example_images: Arrays, answer_maps: Arrays, explanations: Measures
) -> Figure:
    """Return a figure with a row for each shown image: verdict, image, and a map of each concept's answer.

    Under each map is the answer's raw probability; wrong answers are marked, in vermillion. The maps come from
    `explain_answers`.
    """
    if not len(answer_maps["subtasks"]):
        return message_figure(NO_MAPS)
    method, count = str(answer_maps["method"]), int(answer_maps["all"])
    subtasks = [plain(name, NAME) for name in answer_maps["subtasks"].tolist()]
    layout = Layout(head=1.0, row=CELL + 0.25, gap=0.08, widest=22.0, most_blocks=2)
    check, pixels = sanity_check(method, explanations), example_images["pixels"]

    def plot_maps(sheet: Sheet, index: int, row: int, left: float, top: float) -> None:
        for column in range(len(subtasks)):
            x, values = left + column * (CELL + layout.gap), answer_maps["maps"][index, column]
            plot_map(sheet, pixels[row], values, check, x, top, CELL)
            answer = plain(str(answer_maps["answers"][index, column]), 11)
            right = bool(answer_maps["right"][index, column])
            probability = answer_maps["probabilities"][index, column]
            text = f"{'' if right else '✗ '}{answer} {probability:.2f}"
            colour = "black" if right else AGAINST
            sheet.text(x + CELL / 2, top + CELL + 0.02, text, 7, ha="center", color=colour)

    title = f"Why each concept's answer? Maps by {method.replace('_', ' ')}"
    if count > len(subtasks):
        title += f", the {len(subtasks)} concepts that count most of {count}"
    sheet = _plot_images((title, ANSWERS_CAPTION), examples, pixels, subtasks, layout, plot_maps)
    plot_scale(sheet, MARGIN, sheet.height - FOOT + 0.2, of="the answer")
    return sheet.figure


def _plot_images(
    heading: tuple[str, str],
    examples: pd.DataFrame,
    pixels: np.ndarray,
    titles: Sequence[str],
    layout: Layout,
    plot_maps: PlotMaps,
) -> Sheet:
    """Return a sheet with a row for each shown image: verdict, picture and maps; `titles` head the maps."""
    width = LABEL + (len(titles) + 1) * (CELL + layout.gap) + MARGIN
    shown = np.flatnonzero(examples["shown"])
    count = min(layout.most_blocks, len(shown), int(layout.widest // width))
    blocks = np.array_split(np.arange(len(shown)), max(1, count))
    height = layout.head + len(blocks[0]) * layout.row + FOOT
    sheet = Sheet(max(width * len(blocks), 8.5) + MARGIN, height)
    sheet.text(MARGIN, 0.2, heading[0], 14)
    sheet.text(MARGIN, 0.46, heading[1], 9)
    for block_index, block in enumerate(blocks):
        left = MARGIN + block_index * width
        for column, title in enumerate(["image", *titles]):
            middle = left + LABEL + column * (CELL + layout.gap) + CELL / 2
            style = {"ha": "center", "va": "bottom", "weight": "bold" if "✗" in title else "normal"}
            sheet.text(middle, layout.head - 0.05, title, 7.5, **style)
        for line, index in enumerate(block.tolist()):
            row, top = int(shown[index]), layout.head + line * layout.row
            label = verdict(examples.iloc[row], NAME, between="\n").replace(" taken for ", "\nas ")
            sheet.text(left, top + CELL / 2, label, 8.5, va="center")
            sheet.image(pixels[row].transpose(1, 2, 0), left + LABEL, top, CELL)
            plot_maps(sheet, index, row, left + LABEL + CELL + layout.gap, top)
    return sheet
