"""What the project's figures have in common."""

import textwrap

from matplotlib.figure import Figure


def plain(label: object) -> str:
    """Return a name that fits an axis and that matplotlib does not read as a formula."""
    return textwrap.shorten(str(label), 24, placeholder="…").replace("$", r"\$")


def message_figure(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(8, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
