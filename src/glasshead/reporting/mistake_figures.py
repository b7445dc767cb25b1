"""A figure of the shown mistakes, one card for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.figure import Figure

from glasshead.explainers.methods import MethodMaps, method_maps
from glasshead.explainers.randomisation import Measures, best_methods, insertion, sanity_check
from glasshead.reporting.figures import Sheet, message_figure, plain
from glasshead.reporting.map_plotting import method_title, plot_map, plot_scale
from glasshead.reporting.panels import Arrays, count_subtasks, plot_concept_bars, verdict

Thumbnails = Mapping[str, UInt8[np.ndarray, "h w 3"]]

HEIGHT = 2.35  # inches, like the other sizes here
IMAGE, THUMB, GAP = 1.25, 0.84, 0.1
BARS, BAR_LABELS = 1.2, 1.75
NAME = 16  # characters
MAPS = 2
CONCEPTS = 5


@dataclass(frozen=True)
class Known:
    """The data that cards show; `shapley` and `neighbours` are None for a classifier without concepts."""

    example_images: Arrays
    methods: Mapping[str, MethodMaps]
    measures: Measures
    shapley: Arrays | None
    neighbours: pd.DataFrame | None
    thumbnails: Thumbnails

    @property
    def card_width(self) -> float:
        """The width of a card in inches: the sum of its columns that are not empty."""
        width = (1 + MAPS) * (IMAGE + GAP)
        width += BAR_LABELS + BARS + GAP if self.shapley is not None else 0
        return width + (2 * self.near * (THUMB + GAP) + 3 * GAP if self.near else 0)

    @property
    def near(self) -> int:
        """The number of neighbours shown of each kind (same class, other class)."""
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
    """Plot the image and its maps; return the x at which the next column begins."""
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
    title = f"concepts that count most: likeliest value,\nShapley value in {shapley['unit']}"
    sheet.text(x + 0.1, top - 0.03, title, 7, va="bottom")
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
        for near in mine[mine["same_class"] == same].itertuples():
            at = left + (near.rank - 1) * (THUMB + GAP)
            sheet.image(known.thumbnails[near.neighbour_id], at, top, THUMB)
            shared = len(near.shared_concepts.split(", ")) if near.shared_concepts else 0
            text = f"cosine {near.cosine:.2f}\n{shared} of {subtasks}\nconcepts"
            sheet.text(at + THUMB / 2, top + THUMB + 0.03, text, 7, ha="center")


MARGIN, TITLE, FOOT = 0.3, 0.7, 1.55  # inches
WIDEST = 14.0
NO_MISTAKES = "None of the shown images is misclassified."
RULE = (
    "Maps: the two methods with the highest insertion AUC among those that explained the image and pass the "
    "randomisation check;\nif none passes or none was checked, the best of the others, marked accordingly."
)
NEAR = (
    "\nNearest by the cosine of embeddings; under each, the number of concepts for which both images have the same "
    "likeliest value."
)


def mistakes_figure(
    examples: pd.DataFrame,
    example_images: Arrays,
    attributions: Arrays,
    explanations: Measures,
    shapley: Arrays | None = None,
    neighbours: pd.DataFrame | None = None,
    thumbnails: Thumbnails | None = None,
) -> Figure:
    """Return a figure with a card for each mistake among the shown images, or one that says there are none.

    Args:
        neighbours: the table of `find_neighbours`; `thumbnails` has a picture for each neighbour_id.
    """
    wrong = np.flatnonzero(examples["shown"] & ~examples["correct"])
    if not len(wrong):
        return message_figure(NO_MISTAKES)
    shown = example_images, method_maps(attributions), explanations
    known = Known(*shown, shapley, neighbours, thumbnails or {})
    width = known.card_width + MARGIN
    columns = max(1, min(len(wrong), int(WIDEST // width)))
    lines = -(-len(wrong) // columns)
    sheet = Sheet(max(width * columns, 13.0) + MARGIN, TITLE + lines * HEIGHT + FOOT)
    sheet.text(MARGIN, 0.2, f"{len(wrong)} mistakes among the shown test images", 14)
    for card_index, row in enumerate(wrong.tolist()):
        line, column = divmod(card_index, columns)
        plot_card(
            sheet, examples.iloc[row], row, known, MARGIN + column * width, TITLE + line * HEIGHT
        )
    _plot_foot(sheet, known)
    return sheet.figure


def _plot_foot(sheet: Sheet, known: Known) -> None:
    top = sheet.height - FOOT + 0.2
    plot_scale(sheet, MARGIN, top)
    best = best_methods(known.methods, known.measures, len(known.methods))
    measured = [name for name in best if np.isfinite(insertion(name, known.measures))]
    values = [
        f"{plain(name.replace('_', ' '), 40)} {insertion(name, known.measures):.2f}"
        for name in measured
    ]
    note = RULE + ("\n" + fill(f"Insertion AUC: {', '.join(values)}.", 150) if values else "")
    note += NEAR if known.near else ""
    sheet.text(MARGIN, top + 0.6, note, 8)
