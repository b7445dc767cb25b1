"""A figure of the shown mistakes, one card for each."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glasshead.explainers.randomisation import Measures, best_methods, insertion
from glasshead.explainers.stored import method_maps
from glasshead.reporting.figures import message_figure, plain
from glasshead.reporting.map_plotting import plot_scale
from glasshead.reporting.mistake_panels import HEIGHT, Known, Thumbnails, plot_card
from glasshead.reporting.panels import Arrays
from glasshead.reporting.sheet import Sheet

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
    """Return a card for each misclassified image among those shown, or a figure that says there are none.

    Args:
        neighbours: the table of `find_neighbours`; `thumbnails` has a picture for each neighbour_id.
    """
    wrong = np.flatnonzero(examples["shown"] & ~examples["correct"])
    if not len(wrong):
        return message_figure(NO_MISTAKES)
    known = Known(
        example_images,
        method_maps(attributions),
        explanations,
        shapley,
        neighbours,
        thumbnails or {},
    )
    width = known.card_width + MARGIN
    columns = max(1, min(len(wrong), int(WIDEST // width)))
    lines = -(-len(wrong) // columns)
    sheet = Sheet(max(width * columns, 10.5) + MARGIN, TITLE + lines * HEIGHT + FOOT)
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
