"""What the project's figures have in common."""

from matplotlib.figure import Figure

LONGEST = 24  # characters


def plain(label: object) -> str:
    """Return a name that fits an axis and that matplotlib does not read as a formula."""
    text = " ".join(str(label).split())
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…").replace("$", r"\$")


def message_figure(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(8, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
