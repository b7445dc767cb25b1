"""How a share differs between a group and the rest, among rows of the same stratum."""

import numpy as np
from jaxtyping import Bool, Int
from scipy.special import ndtri

from glasshead.calibration.bootstrap import Estimate


def stratified_difference(
    hits: Bool[np.ndarray, " n"],
    group: Bool[np.ndarray, " n"],
    strata: Int[np.ndarray, " n"],
    comparisons: int = 1,
) -> Estimate:
    """Return the share of `hits` in the group less that in the rest, in [-1, 1], and its 95 % interval.

    Mantel–Haenszel: differences within strata (numbered from 0), weighed by n1 n0 / (n1 + n0). Interval: Klingenberg
    2014, Statistics in Medicine 33:2968; of several `comparisons`, each at 1 - 0.05 / comparisons, so that all hold at
    once with 95 % (Bonferroni). `n` counts the group's rows in strata that hold others too; undefined without any.
    """
    size = int(strata.max(initial=0)) + 1
    n1, n0, y1, y0 = (
        np.bincount(strata[part], minlength=size).astype(float)
        for part in (group, ~group, group & hits, ~group & hits)
    )
    both = (n1 > 0) & (n0 > 0)
    n1, n0, y1, y0 = (counts[both] for counts in (n1, n0, y1, y0))
    if not both.any():
        return Estimate(None, None, None, 0)
    n = n1 + n0
    weight = (n1 * n0 / n).sum()
    difference = ((y1 * n0 - y0 * n1) / n).sum() / weight
    z2 = ndtri(1 - 0.025 / comparisons) ** 2
    # Sato 1989, Biometrics 45:1323: the variance is (difference * slope + base) / weight².
    slope = ((n1**2 * y0 - n0**2 * y1 + n1 * n0 * (n0 - n1) / 2) / n**2).sum()
    base = ((y1 * (n0 - y0) + y0 * (n1 - y1)) / (2 * n)).sum()
    middle = difference + z2 * slope / (2 * weight**2)
    half = np.sqrt(middle**2 - difference**2 + z2 * base / weight**2)
    low, high = np.clip([middle - half, middle + half], -1, 1)
    return Estimate(float(difference), float(low), float(high), int(n1.sum()))
