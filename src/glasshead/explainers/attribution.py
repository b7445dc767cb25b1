"""What explanation methods return: a value for each part of the input and, where values must add up, a check."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int


@dataclass(frozen=True)
class Explanation:
    """How much each part of the input matters, image by image.

    values: one value for each pixel, (n, h, w), or for each pixel and channel, (n, 3, h, w), such as a gradient.
    """

    values: Float[np.ndarray, "n ..."]

    @property
    def maps(self) -> Float[np.ndarray, "n h w"]:
        """Return one value for each pixel: of several channels, the largest magnitude (Simonyan et al. 2013)."""
        maps: Float[np.ndarray, "n h w"] = self.values
        return np.abs(maps).max(axis=1) if self.values.ndim == 4 else maps


@dataclass(frozen=True)
class Attribution(Explanation):
    """Contributions that must add up to `output - base`, image by image.

    values: (n, ...) signed contribution of each part of the input, in the unit of the output.
    base: (n,) the output for no information: the mean over background rows, or the output on a baseline image.
    output: (n,) the explained output. `base` and `output` come from plain forward passes, not from `values`.
    """

    base: Float[np.ndarray, " n"]
    output: Float[np.ndarray, " n"]

    @property
    def maps(self) -> Float[np.ndarray, "n h w"]:
        """Return one signed contribution for each pixel; channels are summed."""
        maps: Float[np.ndarray, "n h w"] = self.values
        return maps.sum(axis=1) if self.values.ndim == 4 else maps

    @property
    def gap(self) -> Float64[np.ndarray, " n"]:
        """Return (n,) |sum of values + base - output|, at least 0, in the output's unit; 0 if values add up."""
        total = self.values.reshape(len(self.values), -1).sum(axis=1, dtype=np.float64)
        gap: Float64[np.ndarray, " n"] = np.abs(total + self.base - self.output)
        return gap


def explanation_of(
    attributions: Mapping[str, np.ndarray], method: str, rows: Int[np.ndarray, " r"]
) -> Explanation:
    """Return the stored explanation by `method` for the images in `rows`; the method must have explained all of them.

    `attributions` holds `<method>` (m, ...) and `<method>/rows` (m,), ascending. If values must add up, it also holds
    `<method>/base` and `<method>/output` (m,).
    """
    stored_rows = np.searchsorted(attributions[f"{method}/rows"], rows)
    values = attributions[method][stored_rows]
    if f"{method}/base" not in attributions:
        return Explanation(values)
    base, output = (attributions[f"{method}/{name}"][stored_rows] for name in ("base", "output"))
    return Attribution(values, base, output)
