"""95 % bootstrap intervals of statistics, all from the same resamples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from glasshead.seeds import generator

INTERVAL = (0.025, 0.975)
# The gap of a calibrated bin is Z ~ N(0, 1), up to scale; E|Z| is 1 + √2 times what resampling adds to |Z| on average.
NULL_BIAS = 1 + np.sqrt(2)
CHUNK_CELLS = 4_000_000  # counts in memory at once: 32 MB, whatever the number of rows


@dataclass(frozen=True)
class Statistic:
    """A statistic of the form `combine(terms.mean(axis=0))`: a resample only changes the weights of the mean.

    `combine` maps the means of r resamples, `(r, f)`, to values `(r,)`, NaN where undefined. `biased` marks statistics
    in [0, 1] that grow with sampling noise, such as ECE; their intervals are corrected.
    """

    terms: Float[np.ndarray, "n f"]
    combine: Callable[[np.ndarray], np.ndarray]
    biased: bool = False

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def value(self) -> float | None:
        """The statistic of the sample itself; None if undefined."""
        if not len(self):
            return None
        return _defined(self.combine(self.terms.mean(axis=0, keepdims=True)))

    def resampled(self, counts: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """Return the statistic of r resamples; `counts` says how often each holds each row."""
        return self.combine(counts @ self.terms / len(self))


@dataclass(frozen=True)
class CountStatistic:
    """A statistic of `n` rows that is not a function of means, such as one of ranks.

    `measure` maps the counts of each row in r resamples, `(r, n)`, to values `(r,)`, NaN where undefined.
    """

    n: int
    measure: Callable[[np.ndarray], np.ndarray]
    biased: bool = False

    def __len__(self) -> int:
        return self.n

    @property
    def value(self) -> float | None:
        """The statistic of the sample itself; None where it is undefined."""
        return _defined(self.measure(np.ones((1, self.n)))) if self.n else None

    def resampled(self, counts: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """Return the statistic of r resamples; `counts` says how often each holds each row."""
        return self.measure(counts)


AnyStatistic = Statistic | CountStatistic


def _defined(values: Float[np.ndarray, " 1"]) -> float | None:
    value = float(values[0])
    return None if np.isnan(value) else value


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval from `n` rows; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def columns(self, name: str, prefix: str) -> dict[str, float | None]:
        """Return the value as `name`, and the ends of its interval as `<prefix>low` and `<prefix>high`."""
        return {name: self.value, f"{prefix}low": self.low, f"{prefix}high": self.high}


def mean_of(values: Float[np.ndarray, " n"]) -> Statistic:
    """Return the mean of `values` as a statistic."""
    return Statistic(np.asarray(values, dtype=float)[:, None], lambda means: means[..., 0])


def ratio_of(above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"]) -> Statistic:
    """Return the mean of `above` over the mean of `below` as a statistic, undefined where the latter is not above 0."""
    return Statistic(np.stack([above, below], axis=1).astype(float), _ratio)


def mean_of_defined(values: Float[np.ndarray, " n"]) -> Statistic:
    """Return the mean of the `values` that are not NaN as a statistic."""
    defined = ~np.isnan(values)
    return ratio_of(np.where(defined, values, 0.0), defined.astype(float))


def _ratio(means: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    ratio = np.full(means.shape[:-1], np.nan)
    np.divide(means[..., 0], means[..., 1], out=ratio, where=means[..., 1] > 0)
    return ratio


def averaged(statistics: Sequence[AnyStatistic]) -> AnyStatistic:
    """Return the mean of several statistics of the same rows; it is undefined if any of them is undefined."""
    if len(statistics) == 1:
        return statistics[0]
    biased = any(statistic.biased for statistic in statistics)
    return CountStatistic(len(statistics[0]), partial(_mean_of_all, statistics), biased)


def _mean_of_all(statistics: Sequence[AnyStatistic], counts: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.mean([statistic.resampled(counts) for statistic in statistics], axis=0)
    return mean


def bootstrap_intervals(
    statistics: Mapping[str, AnyStatistic], n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return each statistic with its 95 % interval.

    Percentile intervals (Efron 1979). A biased statistic, such as ECE, is corrected: resamples lie above the value v by
    a bias b on average. In turn v lies above the true value by a bias between 0 (if gaps are wide) and `NULL_BIAS` b
    (if all gaps are noise). The interval is therefore [v - `NULL_BIAS` b - h, v + h], clipped to [0, 1], where h is the
    distance from the mean of the resamples to their 97.5 % quantile. The ends are None for fewer than two rows, or if
    over 5 % of the resamples are undefined, as the tails are then unknown.

    Raises ValueError unless all statistics describe the same rows.
    """
    sizes = {len(statistic) for statistic in statistics.values()}
    if len(sizes) > 1:
        raise ValueError(f"Statistics of one bootstrap must describe the same rows, not {sizes}")
    draws: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    n = max(sizes, default=0)
    for counts in _resample_counts(n, n_resamples, seed):
        for name, statistic in statistics.items():
            draws[name].append(statistic.resampled(counts))
    return {
        name: _estimate(statistic, np.concatenate([[], *draws[name]]))
        for name, statistic in statistics.items()
    }


def _resample_counts(n: int, n_resamples: int, seed: int) -> Iterator[Float[np.ndarray, "r n"]]:
    """Yield how often each row is in each resample, in chunks of resamples; nothing for fewer than two rows."""
    if n < 2:
        return
    rng = generator(seed, "bootstrap")
    chunk = max(1, CHUNK_CELLS // n)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        draws = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size))
        yield np.stack(list(draws)).astype(float)


def _estimate(statistic: AnyStatistic, draws: Float[np.ndarray, " r"]) -> Estimate:
    value, n = statistic.value, len(statistic)
    defined = draws[~np.isnan(draws)]
    if value is None or not len(defined) or len(defined) < 0.95 * len(draws):
        return Estimate(value, None, None, n)
    low, high = np.quantile(defined, INTERVAL)
    if statistic.biased:
        bias, half = max(defined.mean() - value, 0), high - defined.mean()
        low, high = np.clip([value - NULL_BIAS * bias - half, value + half], 0, 1)
    return Estimate(value, float(low), float(high), n)
