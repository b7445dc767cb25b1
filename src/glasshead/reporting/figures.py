"""What the project's figures have in common."""

from collections.abc import Collection
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

LONGEST = 24  # characters
GRID = 2**20  # positions are rounded to 1/GRID: less than a pixel, more than rounding errors


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches with a constrained layout."""
    return Figure(figsize=(width, height), layout=SteadyLayout())


class SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout with rounded positions, so that rendering a figure again gives the same pixels.

    The solver of the layout visits its variables in the order of their memory addresses. The last digits of positions
    therefore differ between runs, and sometimes a pixel differs with them.
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


def plot_intervals(axes: Axes, table: pd.DataFrame, *colours: str) -> None:
    """Plot a line for each row of `table`, whose columns are value, low and high; `colours` take turns."""
    rows = zip(table.astype(float).to_numpy(), cycle(colours), strict=False)
    for line, ((value, low, high), colour) in enumerate(rows):
        axes.plot([low, high], [line, line], color=colour, linewidth=2)
        axes.plot(value, line, "o", color=colour)
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


def name_lines(axes: Axes, names: Collection[str], longest: int = LONGEST) -> None:
    """Label the lines of `plot_intervals` with `names`; the first line is on top."""
    axes.set_yticks(range(len(names)), [plain(name, longest) for name in names])
    axes.invert_yaxis()


def message_figure(text: str) -> Figure:
    """Return a figure that says why there is nothing to plot."""
    figure = Figure(figsize=(8, 1.5))
    figure.text(0.5, 0.5, fill(text, 90), ha="center", va="center")
    return figure


class Sheet:
    """A page of `width` by `height` inches; x and y count from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self._page = self.figure.add_axes((0, 0, 1, 1))
        self._page.set_axis_off()
        self._fix_limits()

    def image(self, pixels: np.ndarray, x: float, y: float, side: float) -> None:
        """Plot an image (h, w, 3) into a square of `side` inches at (x, y), keeping the image's aspect ratio."""
        height, width = (side * length / max(pixels.shape[:2]) for length in pixels.shape[:2])
        x, y = x + (side - width) / 2, y + (side - height) / 2
        self._page.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
        self._fix_limits()  # imshow changes the limits

    def text(self, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
        """Write `text` with its top left corner at (x, y), unless `style` says otherwise."""
        defaults: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.15}
        self._page.text(x, y, text, fontsize=size, **(defaults | style))

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """Plot a rectangle."""
        self._page.add_patch(Rectangle((x, y), width, height, **style))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Return axes of this size; their labels lie outside it."""
        bottom = self.height - y - height
        across, up = self.width, self.height
        return self.figure.add_axes((x / across, bottom / up, width / across, height / up))

    def _fix_limits(self) -> None:
        self._page.set(xlim=(0, self.width), ylim=(self.height, 0))
