"""Figures of explanations by pixels: attributions as maps over the image.

Wherever several arguments describe images, they hold the same images in the same order: `examples` with a row each,
`example_images["pixels"]` (n, 3, h, w) uint8, and the arrays of the explanation.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from glasshead.reporting.panels import AGAINST, FOR, draw_image, panels, rows_of, verdict

Arrays = dict[str, np.ndarray]

SIGNED = LinearSegmentedColormap.from_list("against_for", [AGAINST, "white", FOR])
MAP_PERCENTILE = 99


def plot_attribution_maps(
    examples: pd.DataFrame, example_images: Arrays, attributions: Arrays
) -> Figure:
    """Return image, Integrated Gradients map (summed over channels) and overlay of each image."""
    figure, cells, foot = panels(len(examples), width=4, height=1.75)
    figure.suptitle("Integrated Gradients of the predicted class: image, map, overlay", fontsize=14)
    for index, (panel, example) in enumerate(zip(cells, rows_of(examples), strict=False)):
        signed = attributions["integrated_gradients"][index].sum(axis=0, dtype=float)
        scale = float(np.percentile(np.abs(signed), MAP_PERCENTILE)) or 1.0
        _draw_map(panel, example_images["pixels"][index], signed / scale)
        panel.suptitle(f"{verdict(example)}\nscale: {scale:.2g} logits a pixel", fontsize=9)
    bar = foot.colorbar(
        ScalarMappable(Normalize(-1, 1), SIGNED), cax=foot.add_axes((0.3, 0.72, 0.4, 0.16)),
        orientation="horizontal", ticks=(-1, 0, 1),
    )  # fmt: skip
    bar.ax.set_xticklabels(["lowers its logit", "0", "raises its logit"], fontsize=9)
    foot.text(
        0.5, 0.12,
        "Channels are summed. Full colour is each image's own scale, the "
        f"{MAP_PERCENTILE}th percentile of its |map|.",
        ha="center", fontsize=9,
    )  # fmt: skip
    return figure


def _draw_map(panel: SubFigure, pixels: np.ndarray, relative: Float[np.ndarray, "h w"]) -> None:
    """Draw image, map and overlay side by side; `relative` has full colour at -1 and 1."""
    original, alone, overlay = panel.subplots(1, 3)
    draw_image(original, pixels)
    alone.imshow(relative, cmap=SIGNED, vmin=-1, vmax=1)
    overlay.imshow(pixels.mean(axis=0), cmap="gray", vmin=0, vmax=255)
    strength = np.clip(np.abs(relative), 0, 1)
    overlay.imshow(relative, cmap=SIGNED, vmin=-1, vmax=1, alpha=strength)
    for axes in (alone, overlay):
        axes.set(xticks=[], yticks=[])
