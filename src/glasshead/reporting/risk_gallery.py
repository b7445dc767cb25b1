"""Galleries of risk: original, heatmap and overlay of each image, all on the same colour scale."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from glasshead.reporting.figures import Sheet, message_figure, plain

HEAT = colormaps["RdYlBu_r"]  # low blue, yellow, high red; colour-blind readers can tell them apart
BEYOND = 0.01  # fraction of heat values beyond the ends of the colour scale
DENSITY = 0.55  # opacity of the heat over the image
SIDE, GAP, MARGIN, BETWEEN = 1.05, 0.05, 0.3, 0.35  # inches
LINE, HEAD, TITLE, FOOT = 0.42, 0.45, 0.75, 0.75
COLUMNS = 2
TRIPLE = 3 * SIDE + 2 * GAP
MEANING = (
    "Calibrated logit of the risk if all of the image were like this place, logarithmic beyond 1: its probability is "
    "0.5 at 0, 0.73 at 1 and 0.993 at 5. All images and figures share the scale; arrows mark values beyond it."
)


class Scale(NamedTuple):
    """A colour scale for logits: `most` is red, 0 is yellow, -`most` is blue.

    The scale is logarithmic beyond 1, so that differences show among small and among large logits.
    """

    most: float

    def colours(self, heat: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
        """Return the colours of heat; values beyond the ends get the colours of the ends."""
        colours: Float[np.ndarray, "h w 3"] = self.mappable().to_rgba(heat)[:, :, :3]
        return colours

    def mappable(self) -> ScalarMappable:
        """Return the object from which matplotlib plots a colour bar."""
        return ScalarMappable(SymLogNorm(1, vmin=-self.most, vmax=self.most, base=10), HEAT)


class Heated(NamedTuple):
    """An image, its heat at the same size, and its caption."""

    pixels: UInt8[np.ndarray, "3 h w"]
    heat: Float[np.ndarray, "h w"]
    caption: str


def scale_of(heat: Float[np.ndarray, "..."]) -> Scale:
    """Return a scale up to at least 5, which only a fraction `BEYOND` of the |logits| exceeds."""
    return Scale(max(5.0, float(np.quantile(np.abs(heat), 1 - BEYOND)) if heat.size else 0.0))


def heat_overlay(
    pixels: UInt8[np.ndarray, "3 h w"], colours: Float[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "h w 3"]:
    """Return `colours` laid over the image in grey."""
    grey = np.repeat(pixels.mean(axis=0)[:, :, None] / 255, 3, axis=2)
    mixed: Float[np.ndarray, "h w 3"] = (1 - DENSITY) * grey + DENSITY * colours
    return mixed


def risk_gallery_figure(title: str, blocks: Mapping[str, Sequence[Heated]], scale: Scale) -> Figure:
    """Return a figure with a block for each risk: original, heatmap and overlay of its images, two images a line."""
    if not any(blocks.values()):
        return message_figure("There are no test images to show.")
    lines = {risk: -(-len(images) // COLUMNS) for risk, images in blocks.items()}
    height = TITLE + sum(HEAD + count * (LINE + SIDE) for count in lines.values()) + FOOT
    sheet = Sheet(2 * MARGIN + COLUMNS * TRIPLE + BETWEEN, height)
    sheet.text(MARGIN, 0.2, title, 14)
    sheet.text(MARGIN, 0.5, "original | heatmap | overlay", 9)
    top = TITLE
    for risk, images in blocks.items():
        sheet.text(MARGIN, top + 0.15, plain(risk, 60), 11, weight="bold")
        top += HEAD
        for image_index, image in enumerate(images):
            line, column = divmod(image_index, COLUMNS)
            x = MARGIN + column * (TRIPLE + BETWEEN)
            _draw(sheet, image, scale, x, top + line * (LINE + SIDE))
        top += lines[risk] * (LINE + SIDE)
    _plot_scale(sheet, scale, MARGIN, top + 0.2)
    return sheet.figure


def _draw(sheet: Sheet, image: Heated, scale: Scale, x: float, y: float) -> None:
    sheet.text(x, y + LINE - 0.06, image.caption, 8, va="bottom")
    colours = scale.colours(image.heat)
    pictures = (image.pixels.transpose(1, 2, 0), colours, heat_overlay(image.pixels, colours))
    for column, picture in enumerate(pictures):
        sheet.image(picture, x + column * (SIDE + GAP), y + LINE, SIDE)


def _plot_scale(sheet: Sheet, scale: Scale, x: float, y: float) -> None:
    ticks = (-scale.most, -1, 0, 1, scale.most)
    bar = sheet.figure.colorbar(
        scale.mappable(),
        cax=sheet.axes(x + 0.1, y, 2.2, 0.14),
        orientation="horizontal",
        ticks=ticks,
        extend="both",
        format=lambda tick, _: f"{tick:.3g}",
    )
    bar.ax.tick_params(labelsize=8)
    sheet.text(x + 2.6, y - 0.05, fill(MEANING, 68), 8)
