"""The mean of a ReLU over a background, in one pass over memory: torch would write every term and read it again."""

import numba
import numpy as np
from jaxtyping import Float


def _mean_relu(
    present: Float[np.ndarray, "s n h"],
    absent: Float[np.ndarray, "s b h"],
    mean: Float[np.ndarray, "s n h"],
) -> None:
    s, n, h = present.shape
    b = absent.shape[1]
    zero = present.dtype.type(0)
    share = present.dtype.type(1 / b)
    for coalition in range(s):
        for row in range(n):
            for other in range(b):
                for unit in range(h):
                    total = present[coalition, row, unit] + absent[coalition, other, unit]
                    mean[coalition, row, unit] += total if total > zero else zero
            for unit in range(h):
                mean[coalition, row, unit] *= share


# (s, n, h), (s, b, h): adds mean over b of max(present + absent, 0) to the (s, n, h) zeros of the third; frees the GIL
mean_relu = numba.njit(nogil=True)(_mean_relu)
