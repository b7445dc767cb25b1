"""What the project's figures have in common."""

from matplotlib.figure import Figure

LONGEST = 24  # characters


def plain(label: object, longest: int = LONGEST) -> str:
    """Return a name of up to `longest` characters that matplotlib does not read as a formula."""
    text = " ".join(str(label).split())
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def message_figure(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(8, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
