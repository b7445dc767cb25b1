"""What every additive explanation returns: contributions, and the check that they are complete."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Attribution:
    """Contributions that must add up to `output - base`, image by image.

    values: (n, ...) signed contribution of each part of the input, in the unit of the output.
    base: (n,) the output where nothing is known of the image: background average or baseline image.
    output: (n,) the output that is explained; both come from plain forward passes, not from `values`.
    """

    values: Float[np.ndarray, "n ..."]
    base: Float[np.ndarray, " n"]
    output: Float[np.ndarray, " n"]

    @property
    def gap(self) -> Float64[np.ndarray, " n"]:
        """Return (n,) |sum of values + base - output|, at least 0, in the output's unit; 0 is complete."""
        total = self.values.reshape(len(self.values), -1).sum(axis=1, dtype=np.float64)
        gap: Float64[np.ndarray, " n"] = np.abs(total + self.base - self.output)
        return gap

    @property
    def relative_gap(self) -> Float64[np.ndarray, " n"]:
        """Return (n,) gap / |output - base|; NaN where the output equals the base and nothing is explained."""
        step = np.abs(self.output - self.base)
        ratio: Float64[np.ndarray, " n"] = np.full(len(step), np.nan)
        np.divide(self.gap, step, out=ratio, where=step > 0)
        return ratio
