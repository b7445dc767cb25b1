"""A figure laid out in inches, for many images beside each other; it renders fast, as no layout is solved."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


class Sheet:
    """A page of `width` by `height` inches; x and y count from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self._page = self.figure.add_axes((0, 0, 1, 1))
        self._page.set_axis_off()
        self._fix_limits()

    def image(self, pixels: np.ndarray, x: float, y: float, side: float) -> None:
        """Plot an image (h, w, 3) in the square of `side` inches at (x, y), keeping its shape."""
        height, width = (side * length / max(pixels.shape[:2]) for length in pixels.shape[:2])
        x, y = x + (side - width) / 2, y + (side - height) / 2
        self._page.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
        self._fix_limits()  # which imshow sets to its own

    def text(self, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
        """Write `text` with its top left corner at (x, y), unless `style` says otherwise."""
        defaults: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.15}
        self._page.text(x, y, text, fontsize=size, **(defaults | style))

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """Plot a rectangle."""
        self._page.add_patch(Rectangle((x, y), width, height, **style))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Return axes of that size, whose labels lie outside."""
        bottom = self.height - y - height
        across, up = self.width, self.height
        return self.figure.add_axes((x / across, bottom / up, width / across, height / up))

    def _fix_limits(self) -> None:
        self._page.set(xlim=(0, self.width), ylim=(self.height, 0))
