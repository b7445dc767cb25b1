"""Attribution maps over their images, with the signed colour scale, its legend, and marks of the sanity check."""

from textwrap import fill

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from glasshead.explainers.maps import map_faults
from glasshead.explainers.methods import MethodMaps
from glasshead.explainers.randomisation import Measures, SanityCheck, sanity_check
from glasshead.reporting.figures import Sheet, plain
from glasshead.reporting.panels import AGAINST, FOR

SIGNED = LinearSegmentedColormap.from_list("against_for", [AGAINST, "white", FOR])
MAP_PERCENTILE = 99
CHARACTER = 0.062  # inches, the mean width of one at 8 points
PATCH = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.2}
MARKS = {
    "passes": "",
    "unresolved": "? the randomisation check is unresolved",
    "not checked": "? not checked",
    "fails": "✗ fails the randomisation check",
}
SCALE_NOTE = (
    f"Full colour is the {MAP_PERCENTILE}th percentile of each map's own |values|: colours compare pixels of a map, "
    "not maps.\n"
    "Unsigned methods, such as saliency and attention, have no negative values: blue shows how much a pixel matters, "
    "not for what.\n"
    "✗: the method fails the randomisation check. Its maps of a network with random weights look much the same, so do "
    "not believe them. ?: not checked, or unresolved."
)


def relative(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return a finite map divided by a high percentile of its |values|, so that -1 and 1 are full colour."""
    size = np.abs(values.astype(float))
    return values / (float(np.percentile(size, MAP_PERCENTILE)) or float(size.max()) or 1.0)


def overlay(
    pixels: UInt8[np.ndarray, "3 h w"], values: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """Return the map's colours over the image in grey; the colour of larger |values| is more opaque."""
    scaled = np.clip(relative(values), -1, 1)
    grey = np.repeat(pixels.mean(axis=0)[:, :, None] / 255, 3, axis=2)
    density = np.abs(scaled)[:, :, None]
    colour = np.where(scaled[:, :, None] < 0, SIGNED(0.0)[:3], SIGNED(1.0)[:3])
    mixed: Float[np.ndarray, "h w 3"] = (1 - density) * grey + density * colour
    return mixed


def plot_map(
    sheet: Sheet,
    pixels: UInt8[np.ndarray, "3 h w"],
    values: Float[np.ndarray, "h w"] | None,
    check: SanityCheck,
    x: float,
    y: float,
    side: float,
) -> None:
    """Plot the map over the image with the mark of its method's sanity check, or say why there is no map."""
    fault = _fault(values)
    if values is not None and fault != "not finite":
        sheet.image(overlay(pixels, values), x, y, side)
    else:
        sheet.box(x, y, side, side, facecolor="0.94", edgecolor="none")
    if fault:
        middle = {"ha": "center", "va": "center"}
        sheet.text(x + side / 2, y + side / 2, fault, 7, bbox=PATCH, **middle)
    if values is not None and MARKS[check]:
        sheet.text(x + 0.05, y + 0.04, MARKS[check][0], 7, bbox=PATCH)


def method_title(name: str, explained: MethodMaps, measures: Measures, longest: int) -> str:
    """Return the method's name, whether it is unsigned, and its mark, wrapped at `longest` characters."""
    sign = " (unsigned)" if explained.unsigned else ""
    texts = plain(name.replace("_", " "), 40) + sign, MARKS[sanity_check(name, measures)]
    return "\n".join(fill(text, longest) for text in texts if text)


def plot_scale(sheet: Sheet, x: float, y: float, of: str = "the predicted class") -> None:
    """Plot the legend of the signed scale, 3 inches wide, with its meaning beside it; `of` names what maps explain.

    The meaning is wrapped at the sheet's right edge; in a sheet of 13 inches or more it has three lines.
    """
    bar = sheet.figure.colorbar(
        ScalarMappable(Normalize(-1, 1), SIGNED), cax=sheet.axes(x + 0.4, y, 2.2, 0.14),
        orientation="horizontal", ticks=(-1, 0, 1),
    )  # fmt: skip
    bar.ax.set_xticklabels(["speaks against", "0", "speaks for"], fontsize=8)
    sheet.text(x, y + 0.36, f"… {of}", 8)
    fitting = int((sheet.width - x - 3.4) / CHARACTER)
    note = "\n".join(fill(line, fitting) for line in SCALE_NOTE.splitlines())
    sheet.text(x + 3.2, y - 0.04, note, 8)


def _fault(values: Float[np.ndarray, "h w"] | None) -> str | None:
    if values is None:
        return "not run"
    faults = map_faults(values[None])
    if faults["not_finite"][0]:
        return "not finite"
    return "constant" if faults["constant"][0] else None
