"""The mean of ReLUs in one pass: torch would write every term to memory and read it again."""

import numba
import numpy as np
from jaxtyping import Float


def _add_mean_relu(
    present: Float[np.ndarray, "s n h"],
    absent: Float[np.ndarray, "s b h"],
    mean: Float[np.ndarray, "s n h"],
) -> None:
    """Add to `mean` the mean over b of max(present + absent, 0)."""
    s, n, h = present.shape
    b = absent.shape[1]
    zero = present.dtype.type(0)
    share = present.dtype.type(1 / b)
    for coalition in range(s):
        for row in range(n):
            for other in range(b):
                for unit in range(h):
                    total = present[coalition, row, unit] + absent[coalition, other, unit]
                    mean[coalition, row, unit] += share * total if total > zero else zero


# a function of three arrays of one dtype; it lets other threads run
add_mean_relu = numba.njit(nogil=True)(_add_mean_relu)
