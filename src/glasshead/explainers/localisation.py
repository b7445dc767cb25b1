"""Agreement of maps with masks of objects and with marks of planted shortcuts.

The mass of a map is the sum of its positive values; negative values speak against the target. Results are NaN if an
image has no mask, if a map is not finite, or if a fraction of the mass is asked for and the mass is 0.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

from glasshead.explainers.maps import divide, top_fractions, where_finite

Maps = Float[np.ndarray, "n h w"]
Masks = Bool[np.ndarray, "n h w"]


def pointing_game(maps: Maps, masks: Masks) -> Float64[np.ndarray, " n"]:
    """Return (n,) 1 if the map's highest pixel is in the mask, else 0. Zhang et al. 2018, arXiv:1608.00507.

    There is no tolerance around the mask. If several pixels are highest, the result is the fraction of them in the
    mask.
    """
    return _of_masked(
        maps, masks, (top_fractions(maps, np.ones(len(maps), int)) * masks).sum((1, 2))
    )


def relevance_mass_accuracy(maps: Maps, masks: Masks) -> Float64[np.ndarray, " n"]:
    """Return (n,) the fraction of mass inside the mask, over the map's highest pixels, as many as the mask has."""
    mass = top_fractions(maps, masks.sum(axis=(1, 2))) * np.maximum(maps, 0)
    return _of_masked(maps, masks, divide((mass * masks).sum((1, 2)), mass.sum((1, 2))))


def mask_iou(maps: Maps, masks: Masks) -> Float64[np.ndarray, " n"]:
    """Return (n,) the intersection over union of the mask and of equally many highest pixels of the map, in [0, 1].

    Pixels tied at the threshold count partly: a constant map gets s / (2 - s) for a mask on the fraction s of the
    pixels.
    """
    area = masks.sum(axis=(1, 2))
    shared = (top_fractions(maps, area) * masks).sum(axis=(1, 2))
    return _of_masked(maps, masks, divide(shared, 2 * area - shared))


def mass_on_mark(maps: Maps, marks: Masks) -> Float64[np.ndarray, " n"]:
    """Return (n,) the fraction of the whole map's mass on the pixels of `marks`, in [0, 1]."""
    mass = np.maximum(maps, 0).astype(float)
    return _of_masked(maps, marks, divide((mass * marks).sum((1, 2)), mass.sum((1, 2))))


def _of_masked(
    maps: Maps, masks: Masks, values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    return where_finite(maps, np.where(masks.any(axis=(1, 2)), values, np.nan))
