"""Similarity of two maps of the same image; NaN if either map holds a NaN or an infinity."""

from collections.abc import Callable, Collection, Mapping

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import uniform_filter

from glasshead.explainers.maps import divide, top_fractions, where_finite

Maps = Float[np.ndarray, "n h w"]
Comparison = Callable[[Maps, Maps], Float64[np.ndarray, " n"]]

WINDOW = 7  # side of SSIM's window in pixels


def rank_correlation(first: Maps, second: Maps) -> Float64[np.ndarray, " n"]:
    """Return (n,) Spearman's rank correlation of the pixels of two maps, in [-1, 1]; tied pixels get their mean rank.

    NaN where either map is constant.
    """
    from scipy.stats import rankdata  # which takes a second to import

    ranks = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    first_rank, second_rank = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    norm = np.sqrt((first_rank**2).sum(axis=1) * (second_rank**2).sum(axis=1))
    return _where_both_finite(first, second, divide((first_rank * second_rank).sum(axis=1), norm))


def top_overlap(first: Maps, second: Maps, fraction: float = 0.1) -> Float64[np.ndarray, " n"]:
    """Return (n,) the fraction of the highest pixels that both maps share, in [0, 1].

    The highest pixels of a map are a `fraction`, in (0, 1], of all its pixels, and at least one. Pixels tied at the
    threshold count partly, as in `top_fractions`; the maps share the smaller of the two parts.
    """
    count = max(1, round(fraction * first[0].size))
    first_top, second_top = (
        top_fractions(maps, np.full(len(maps), count)) for maps in (first, second)
    )
    return _where_both_finite(
        first, second, np.minimum(first_top, second_top).sum(axis=(1, 2)) / count
    )


def structural_similarity(first: Maps, second: Maps) -> Float64[np.ndarray, " n"]:
    """Return (n,) SSIM in [-1, 1] of two maps, each divided by its largest magnitude. Wang et al. 2004.

    SSIM is averaged over a uniform window of 7 x 7 pixels around each pixel; maps are mirrored at their edges. K1 =
    0.01, K2 = 0.03.
    """
    x, y = (_scaled(maps) for maps in (first, second))
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x, variance_y = _window_mean(x * x) - mean_x**2, _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return _where_both_finite(first, second, (luminance * structure).mean(axis=(1, 2)))


def mean_agreement(
    maps: Mapping[str, Maps], compare: Comparison, among: Collection[str]
) -> dict[str, Float64[np.ndarray, " n"]]:
    """Return (n,) the mean similarity of each method's maps to those of the other methods in `among`.

    Comparisons that give NaN are left out of the mean; the mean is NaN if all are.
    """
    pairs = {frozenset((name, other)) for name in maps for other in among if other != name}
    compared = {pair: compare(*(maps[name] for name in sorted(pair))) for pair in pairs}
    agreement = {}
    for name, own in maps.items():
        similarities = np.array(
            [compared[frozenset((name, other))] for other in among if other != name]
        )
        similarities = similarities.reshape(-1, len(own))
        known = np.isfinite(similarities)
        agreement[name] = divide(np.where(known, similarities, 0).sum(axis=0), known.sum(axis=0))
    return agreement


def _scaled(maps: Maps) -> Float64[np.ndarray, "n h w"]:
    """Return maps divided by their largest magnitude; zeros stay zeros."""
    peak = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.nan_to_num(maps / np.where(peak > 0, peak, 1)).astype(float)


def _window_mean(maps: Float64[np.ndarray, "n h w"]) -> Float64[np.ndarray, "n h w"]:
    mean: Float64[np.ndarray, "n h w"] = uniform_filter(maps, (1, WINDOW, WINDOW), mode="mirror")
    return mean


def _where_both_finite(
    first: Maps, second: Maps, values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    return where_finite(first, where_finite(second, values))
