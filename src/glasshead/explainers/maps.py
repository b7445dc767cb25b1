"""Maps of pixel importance: their type, faults, sparsity and highest pixels."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

# (model, images (n, 3, h, w) in [0, 1], targets (n,)) to maps (n, h, w): how much each pixel supports the target
Explainer = Callable[[nn.Module, Tensor, Tensor], np.ndarray]


def map_faults(maps: Float[np.ndarray, "n h w"]) -> dict[str, Float64[np.ndarray, " n"]]:
    """Return an array of shape (n,) for each fault that makes maps useless: 1 where a map has the fault, else 0.

    not_finite: the map holds a NaN or an infinity. constant: the map is finite and has one value everywhere.
    """
    finite = _finite(maps)
    return {
        "not_finite": (~finite).astype(float),
        "constant": (finite & _constant(maps)).astype(float),
    }


def sparsity(maps: Float[np.ndarray, "n h w"]) -> Float64[np.ndarray, " n"]:
    """Return (n,) the Gini index of |map|, in [0, 1): 0 if all pixels are equal, 1 - 1/(h w) if only one is not 0.

    Hurley & Rickard 2009, arXiv:0811.4706. NaN for a map of zeros or one that is not finite.
    """
    size = np.sort(np.abs(maps).reshape(len(maps), -1).astype(float), axis=1)
    count = size.shape[1]
    weight = (count - np.arange(1, count + 1) + 0.5) / count
    return where_finite(maps, 1 - 2 * divide(size @ weight, size.sum(axis=1)))


def top_fractions(
    maps: Float[np.ndarray, "n h w"], counts: Int[np.ndarray, " n"]
) -> Float64[np.ndarray, "n h w"]:
    """Return 1 for each of the `counts` highest pixels of a map, 0 for the others, and a fraction for ties.

    Pixels tied at the threshold share the remaining count, so that a map's fractions add up to it and no order of
    pixels is favoured.
    """
    flat = maps.reshape(len(maps), -1)
    descending = -np.sort(-flat, axis=1)
    threshold = np.take_along_axis(descending, np.maximum(counts, 1)[:, None] - 1, axis=1)
    above, tied = flat > threshold, flat == threshold
    left = divide(counts - above.sum(axis=1), tied.sum(axis=1))
    fractions = np.where(counts[:, None] > 0, above + tied * left[:, None], 0.0)
    return fractions.reshape(maps.shape)


def where_finite(
    maps: Float[np.ndarray, "n h w"], values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Return `values`, with NaN for each map that is not finite."""
    return np.where(_finite(maps), values, np.nan)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def _finite(maps: Float[np.ndarray, "n h w"]) -> Bool[np.ndarray, " n"]:
    return np.isfinite(maps).all(axis=(1, 2))


def _constant(maps: Float[np.ndarray, "n h w"]) -> Bool[np.ndarray, " n"]:
    return (maps == maps[:, :1, :1]).all(axis=(1, 2))
