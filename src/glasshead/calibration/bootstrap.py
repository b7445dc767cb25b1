"""95 % bootstrap intervals of functions of sample means, all from the same resamples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glasshead.seeds import generator

INTERVAL = (0.025, 0.975)
# With Z ~ N(0, 1) for the gap of a calibrated bin, E|Z| is 1 + √2 times what resampling adds to it.
NULL_BIAS = 1 + np.sqrt(2)
CHUNK_CELLS = 4_000_000  # counts held at once: 32 MB, whatever the number of rows


@dataclass(frozen=True)
class Statistic:
    """A statistic written as `combine(terms.mean(axis=0))`: a resample only reweighs the mean.

    `combine` maps means `(r, f)` to values `(r,)`, NaN where undefined. `biased` marks
    statistics in [0, 1] that grow with sampling noise, such as ECE; their intervals are corrected.
    """

    terms: Float[np.ndarray, "n f"]
    combine: Callable[[np.ndarray], np.ndarray]
    biased: bool = False

    @property
    def value(self) -> float | None:
        """The statistic of the sample itself; None where it is undefined."""
        if not len(self.terms):
            return None
        value = float(self.combine(self.terms.mean(axis=0, keepdims=True))[0])
        return None if np.isnan(value) else value


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval from `n` rows; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def mean_of(values: Float[np.ndarray, " n"]) -> Statistic:
    """Return the mean of `values` as a statistic."""
    return Statistic(np.asarray(values, dtype=float)[:, None], lambda means: means[..., 0])


def bootstrap_intervals(
    statistics: Mapping[str, Statistic], n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return each statistic with its 95 % interval.

    Percentile intervals (Efron 1979). Where the statistic is biased, resamples sit above the value v
    by their own bias b, and v above the truth by something between 0, where gaps are wide, and
    `NULL_BIAS` b, where all is noise: [v - `NULL_BIAS` b - h, v + h] in [0, 1], with h from the mean
    of the resamples to their 97.5 % quantile. None below two rows, or where over 5 % of the
    resamples are undefined: no tail is left to read.

    Raises ValueError unless all statistics describe the same rows.
    """
    sizes = {len(statistic.terms) for statistic in statistics.values()}
    if len(sizes) > 1:
        raise ValueError(f"statistics of one bootstrap must describe the same rows, not {sizes}")
    draws: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    n = max(sizes, default=0)
    for counts in _resample_counts(n, n_resamples, seed):
        for name, statistic in statistics.items():
            draws[name].append(statistic.combine(counts @ statistic.terms / n))
    return {
        name: _estimate(statistic, np.concatenate([[], *draws[name]]))
        for name, statistic in statistics.items()
    }


def _resample_counts(n: int, n_resamples: int, seed: int) -> Iterator[Float[np.ndarray, "r n"]]:
    """Yield how often each row is in each resample, in chunks of resamples; none below two rows."""
    if n < 2:
        return
    rng = generator(seed, "bootstrap")
    chunk = max(1, CHUNK_CELLS // n)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        draws = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size))
        yield np.stack(list(draws)).astype(float)


def _estimate(statistic: Statistic, draws: Float[np.ndarray, " r"]) -> Estimate:
    value, n = statistic.value, len(statistic.terms)
    defined = draws[~np.isnan(draws)]
    if value is None or not len(defined) or len(defined) < 0.95 * len(draws):
        return Estimate(value, None, None, n)
    low, high = np.quantile(defined, INTERVAL)
    if statistic.biased:
        bias, half = max(defined.mean() - value, 0), high - defined.mean()
        low, high = np.clip([value - NULL_BIAS * bias - half, value + half], 0, 1)
    return Estimate(value, float(low), float(high), n)
