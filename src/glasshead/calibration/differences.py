"""Differences between the fraction of hits in a group and in all other groups, within strata."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri


@dataclass(frozen=True)
class GroupCounts:
    """Counts for each pair of a group and a stratum, where the stratum also holds other groups.

    Attributes:
        size: the number of groups.
        group, stratum: the group and the stratum of each pair, numbered from 0.
        n1, y1: rows and hits of the group in the stratum.
        n0, y0: rows and hits of the other groups in the stratum.
    """

    size: int
    group: Int[np.ndarray, " pairs"]
    stratum: Int[np.ndarray, " pairs"]
    n1: Float[np.ndarray, " pairs"]
    y1: Float[np.ndarray, " pairs"]
    n0: Float[np.ndarray, " pairs"]
    y0: Float[np.ndarray, " pairs"]

    def by_group(self, numbers: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " groups"]:
        """Return the sum over the pairs of each group."""
        return np.bincount(self.group, numbers, self.size).astype(float)  # int without pairs


def count_groups(
    hits: Bool[np.ndarray, " n"], groups: Int[np.ndarray, " n"], strata: Int[np.ndarray, " n"]
) -> GroupCounts:
    """Count rows and hits by group and stratum, numbered from 0; rows of group -1 are left out."""
    known = groups >= 0
    hits, groups, strata = hits[known], groups[known], strata[known]
    size = int(strata.max(initial=0)) + 1
    pairs, pair_of_row = np.unique(groups * size + strata, return_inverse=True)
    group, stratum = np.divmod(pairs, size)
    n1, y1 = (np.bincount(pair_of_row, weights, len(pairs)) for weights in (None, hits))
    n0, y0 = (
        np.bincount(strata, weights, size)[stratum] - own
        for weights, own in ((None, n1), (hits, y1))
    )
    both = n0 > 0
    counts = (counts_of_pairs[both].astype(float) for counts_of_pairs in (n1, y1, n0, y0))
    return GroupCounts(int(groups.max(initial=-1)) + 1, group[both], stratum[both], *counts)


def stratified_differences(
    counts: GroupCounts, comparisons: int = 1
) -> Float[np.ndarray, "3 groups"]:
    """Return each group's fraction of hits minus that of the other groups, in [-1, 1], with its 95 % interval.

    Rows of the result: difference, low, high. The difference is the Mantel–Haenszel mean of the differences within
    strata, weighted by n1 n0 / (n1 + n0). Interval: Klingenberg 2014, Statistics in Medicine 33:2968. For several
    `comparisons`, each interval is at 1 - 0.05 / comparisons, so that all hold simultaneously with 95 % (Bonferroni).
    NaN for a group that shares no stratum with other groups.
    """
    n1, y1, n0, y0 = counts.n1, counts.y1, counts.n0, counts.y0
    n = n1 + n0
    weight = counts.by_group(n1 * n0 / n)
    weight[weight == 0] = np.nan
    difference = counts.by_group((y1 * n0 - y0 * n1) / n) / weight
    z2 = ndtri(1 - 0.025 / comparisons) ** 2
    # Sato 1989, Biometrics 45:1323: the variance is (difference * slope + base) / weight².
    slope = counts.by_group((n1**2 * y0 - n0**2 * y1 + n1 * n0 * (n0 - n1) / 2) / n**2)
    base = counts.by_group((y1 * (n0 - y0) + y0 * (n1 - y1)) / (2 * n))
    middle = difference + z2 * slope / (2 * weight**2)
    half = np.sqrt(middle**2 - difference**2 + z2 * base / weight**2)
    return np.stack([difference, *np.clip([middle - half, middle + half], -1, 1)])
