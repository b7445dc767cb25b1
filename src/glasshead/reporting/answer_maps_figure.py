"""A figure of why each concept has its answer: every shown image beside a map for each concept."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.explainers.randomisation import Measures, sanity_check
from glasshead.reporting.figures import message_figure, plain
from glasshead.reporting.map_plotting import plot_map, plot_scale
from glasshead.reporting.panels import AGAINST, Arrays, verdict
from glasshead.reporting.sheet import Sheet

LABEL, CELL, CAPTION, GAP, MARGIN = 1.35, 0.88, 0.17, 0.08, 0.25  # inches
HEAD, FOOT = 1.0, 0.95
WIDEST = 22.0
NAME = 14  # characters
NO_MAPS = (
    "No concept's answer is explained by pixels: either the classifier has no concepts, "
    "or no method of explain.concepts.maps applies to it."
)


def plot_answer_maps(
    examples: pd.DataFrame, example_images: Arrays, answer_maps: Arrays, explanations: Measures
) -> Figure:
    """Return a row for each shown image: verdict, image, and a map of each concept's answer with its raw probability.

    Wrong answers are marked and vermillion. The maps come from `explain_answers`.
    """
    if not len(answer_maps["subtasks"]):
        return message_figure(NO_MAPS)
    method = str(answer_maps["method"])
    subtasks = [plain(name, NAME) for name in answer_maps["subtasks"].tolist()]
    width = LABEL + (len(subtasks) + 1) * (CELL + GAP) + MARGIN
    shown = np.flatnonzero(examples["shown"])
    blocks = np.array_split(np.arange(len(shown)), max(1, min(2, len(shown), int(WIDEST // width))))
    step = CELL + CAPTION + GAP
    sheet = Sheet(max(width * len(blocks), 8.5) + MARGIN, HEAD + len(blocks[0]) * step + FOOT)
    count = int(answer_maps["all"])
    most = (
        f", the {len(subtasks)} concepts that count most of {count}"
        if count > len(subtasks)
        else ""
    )
    title = f"Why each concept's answer? Maps by {method.replace('_', ' ')}{most}"
    sheet.text(MARGIN, 0.2, title, 14)
    sheet.text(
        MARGIN, 0.46, "Under each map: the likeliest value and its raw probability; ✗ where it is wrong.", 9
    )  # fmt: skip
    for block_index, block in enumerate(blocks):
        left = MARGIN + block_index * width
        for column, name in enumerate(["image", *subtasks]):
            middle = left + LABEL + column * (CELL + GAP) + CELL / 2
            sheet.text(middle, HEAD - 0.05, name, 7.5, ha="center", va="bottom")
        for line, index in enumerate(block.tolist()):
            row, top = int(shown[index]), HEAD + line * step
            label = verdict(examples.iloc[row], NAME, between="\n").replace(" taken for ", "\nas ")
            sheet.text(left, top + CELL / 2, label, 8.5, va="center")
            pixels = example_images["pixels"][row]
            sheet.image(pixels.transpose(1, 2, 0), left + LABEL, top, CELL)
            for column in range(len(subtasks)):
                x = left + LABEL + (column + 1) * (CELL + GAP)
                values = answer_maps["maps"][index, column]
                plot_map(sheet, pixels, values, sanity_check(method, explanations), x, top, CELL)
                _caption(sheet, answer_maps, index, column, x + CELL / 2, top + CELL + 0.02)
    plot_scale(sheet, MARGIN, sheet.height - FOOT + 0.2, of="the answer")
    return sheet.figure


def _caption(
    sheet: Sheet, answer_maps: Arrays, index: int, column: int, middle: float, top: float
) -> None:
    answer = plain(str(answer_maps["answers"][index, column]), 11)
    right = bool(answer_maps["right"][index, column])
    text = f"{'' if right else '✗ '}{answer} {answer_maps['probabilities'][index, column]:.2f}"
    sheet.text(middle, top, text, 7, ha="center", color="black" if right else AGAINST)
