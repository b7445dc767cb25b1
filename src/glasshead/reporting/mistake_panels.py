"""The card of a mistake: image, verdict, maps, concepts that count most, and similar train images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from glasshead.explainers.randomisation import Measures, best_methods, sanity_check
from glasshead.explainers.stored import MethodMaps
from glasshead.reporting.figures import plain
from glasshead.reporting.map_plotting import method_title, plot_map
from glasshead.reporting.panels import Arrays, count_subtasks, plot_concept_bars, rows_of, verdict
from glasshead.reporting.sheet import Sheet

Thumbnails = Mapping[str, UInt8[np.ndarray, "h w 3"]]

HEIGHT = 2.35  # inches, as all these
IMAGE, THUMB, GAP = 1.25, 0.84, 0.1
BARS, BAR_LABELS = 1.2, 1.75
NAME = 16  # characters
MAPS = 2
CONCEPTS = 5


@dataclass(frozen=True)
class Known:
    """What the cards show; `shapley` and `neighbours` are None for a classifier without concepts."""

    example_images: Arrays
    methods: Mapping[str, MethodMaps]
    measures: Measures
    shapley: Arrays | None
    neighbours: pd.DataFrame | None
    thumbnails: Thumbnails

    @property
    def card_width(self) -> float:
        """Width in inches of the columns that are not empty."""
        width = (1 + MAPS) * (IMAGE + GAP)
        width += BAR_LABELS + BARS + GAP if self.shapley is not None else 0
        return width + (2 * self.near * (THUMB + GAP) + 3 * GAP if self.near else 0)

    @property
    def near(self) -> int:
        """The number of neighbours of each kind that are shown."""
        if self.neighbours is None or not len(self.neighbours):
            return 0
        return int(self.neighbours["rank"].max())


def plot_card(sheet: Sheet, example: pd.Series, row: int, known: Known, x: float, y: float) -> None:
    """Plot the card of the explained image `row`."""
    sheet.box(x, y, known.card_width, 0.01, facecolor="0.6", edgecolor="none")
    said, confidence = verdict(example, NAME, between="\n").split("\n")
    sheet.text(x, y + 0.07, said, 9.5, weight="bold")
    image_id = plain(example["image_id"], 30)
    sheet.text(x, y + 0.25, f"calibrated {confidence}, {image_id}", 8)
    top = y + HEIGHT - IMAGE - 0.12
    x = _plot_maps(sheet, row, known, x, top)
    if known.shapley is not None:
        x = _plot_concepts(sheet, str(example["image_id"]), known.shapley, x, top)
    if known.near:
        _plot_neighbours(sheet, example, known, x + 2 * GAP, top)


def _plot_maps(sheet: Sheet, row: int, known: Known, x: float, top: float) -> float:
    """Plot image and maps; return where the next column begins."""
    pixels = known.example_images["pixels"][row]
    sheet.image(pixels.transpose(1, 2, 0), x, top, IMAGE)
    available = [name for name, maps in known.methods.items() if maps.of(row) is not None]
    for column, name in enumerate(best_methods(available, known.measures, MAPS), start=1):
        left = x + column * (IMAGE + GAP)
        check = sanity_check(name, known.measures)
        plot_map(sheet, pixels, known.methods[name].of(row), check, left, top, IMAGE)
        title = method_title(name, known.methods[name], known.measures, longest=23)
        sheet.text(left + IMAGE / 2, top - 0.03, title, 7, ha="center", va="bottom")
    return x + (1 + MAPS) * (IMAGE + GAP)


def _plot_concepts(sheet: Sheet, image_id: str, shapley: Arrays, x: float, top: float) -> float:
    limit = max(float(np.abs(shapley["values"]).max()), 0.01)
    axes = sheet.axes(x + BAR_LABELS, top, BARS, IMAGE - 0.1)
    (index,) = np.flatnonzero(shapley["image_id"] == image_id)
    plot_concept_bars(axes, shapley, int(index), limit, CONCEPTS, longest=11)
    axes.set_xticks([-limit, 0, limit], [f"−{limit:.2f}", "0", f"{limit:.2f}"])
    sheet.text(
        x + 0.1,
        top - 0.03,
        f"concepts that count most: likeliest value,\nShapley value in {shapley['unit']}",
        7,
        va="bottom",
    )
    return x + BAR_LABELS + BARS + GAP


def _plot_neighbours(sheet: Sheet, example: pd.Series, known: Known, x: float, top: float) -> None:
    assert known.neighbours is not None
    mine = known.neighbours[known.neighbours["image_id"] == example["image_id"]]
    step = known.near * (THUMB + GAP) + GAP
    subtasks = 0 if known.shapley is None else count_subtasks(known.shapley)
    predicted, label = plain(example["predicted"], 18), plain(example["label"], 18)
    for column, (same, name, meaning) in enumerate(
        ((True, predicted, "predicted"), (False, label, "its true class"))
    ):
        left = x + column * step
        sheet.text(left, top - 0.03, f"nearest train images:\n{name}, {meaning}", 7, va="bottom")
        for near in rows_of(mine[mine["same_class"] == same]):
            at = left + (near.rank - 1) * (THUMB + GAP)
            sheet.image(known.thumbnails[near.neighbour_id], at, top, THUMB)
            shared = len(near.shared_concepts.split(", ")) if near.shared_concepts else 0
            text = f"cosine {near.cosine:.2f}\n{shared} of {subtasks}\nconcepts"
            sheet.text(at + THUMB / 2, top + THUMB + 0.03, text, 7, ha="center")
