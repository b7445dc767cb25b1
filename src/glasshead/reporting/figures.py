"""What the project's figures have in common."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

LONGEST = 24  # characters
GRID = 2**20  # steps of a position; far finer than a pixel, far coarser than rounding errors


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches with a constrained layout."""
    return Figure(figsize=(width, height), layout=SteadyLayout())


class SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout with rounded positions, so that a figure is the same picture each time it is rendered.

    The layout's solver visits its variables in the order of their memory addresses. The last digits of its positions
    therefore differ between two runs, and with them sometimes a pixel.
    """

    def execute(self, fig: Figure) -> None:
        super().execute(fig)
        _round_positions(fig)


def _round_positions(figure: Any) -> None:
    """Round the positions of axes, titles and subfigures, down to the innermost subfigure."""
    for subfigure in figure.subfigs:
        subfigure.bbox_relative.set_points(_rounded(subfigure.bbox_relative.get_points()))
        _round_positions(subfigure)
    for axes in figure._localaxes:
        axes._set_position(Bbox(_rounded(axes.get_position(original=True).get_points())))
    for text in (figure._suptitle, figure._supxlabel, figure._supylabel):
        if text is not None:
            text.set_position(_rounded(text.get_position()))


def _rounded(values: Any) -> Any:
    return np.rint(np.asarray(values) * GRID) / GRID


def plain(label: object, longest: int = LONGEST) -> str:
    """Return a name of at most `longest` characters, with `$` escaped for matplotlib."""
    text = " ".join(str(label).split())
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def message_figure(text: str) -> Figure:
    """Return a figure that says why there is nothing to plot."""
    figure = Figure(figsize=(8, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
