"""Percentiles that carry their count, how sure they are, and whether the count bears them.

Numbers in, numbers out: what they are percentiles of is in `client.bench.metrics`, and how words
become counts is in `client.bench.scoring`. scipy is imported where it is used: it takes a second to
load, and the command line loads this module for `duplex serve` and `duplex talk`, too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
# Below so many values a percentile is little more than the largest of them.
NEEDED = {50: 3, 95: 20, 99: 100}
RATIO_PAIRS = {50: 3, 95: 59}  # fewer hold no interval: the largest of 59 bounds the p95


@dataclass(frozen=True, slots=True)
class Summary:
    """Order statistics of ``n`` values, outliers included; percentiles interpolate linearly.

    ``..._low`` and ``..._high`` are the bounds of 95 % intervals: of the median the bootstrap's,
    of p95 and p99 exact ones, None where so few values have no such bound.
    """

    n: int
    mean: float
    sd: float
    low: float
    p50: float
    p95: float
    p99: float
    high: float
    p50_low: float
    p50_high: float
    p95_low: float | None
    p95_high: float | None
    p99_low: float | None
    p99_high: float | None

    def at(self, percentile: int) -> float:
        """The 50th, 95th or 99th percentile."""
        return {50: self.p50, 95: self.p95, 99: self.p99}[percentile]

    def interval(self, percentile: int) -> tuple[float | None, float | None]:
        """The bounds of the 50th, 95th or 99th percentile."""
        return {
            50: (self.p50_low, self.p50_high),
            95: (self.p95_low, self.p95_high),
            99: (self.p99_low, self.p99_high),
        }[percentile]

    def supports(self, percentile: int) -> bool:
        """Whether so many values bear this percentile."""
        return self.n >= NEEDED[percentile]

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The percentiles to be read with care."""
        return tuple(f"p{percentile}" for percentile in NEEDED if not self.supports(percentile))


@dataclass(frozen=True, slots=True)
class Ratio:
    """One server's figure over another's, from ``n`` pairs; with its 95 % bootstrap interval, if
    there are pairs enough for one."""

    n: int
    value: float
    interval: tuple[float, float] | None

    @property
    def words(self) -> str:
        """How sure it is."""
        if self.interval is None:
            return f"{self.n} pairs: too few for an interval"
        low, high = self.interval
        return f"{low:.2f} to {high:.2f}, {self.n} pairs"


def summarise(values: Iterable[float | None]) -> Summary | None:
    """Summarise the values that are there, or None if there are none."""
    array = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(array) == 0:
        return None
    p50, p95, p99 = np.percentile(array, [50, 95, 99])
    p50_low, p50_high = bootstrap_interval(array, 50)
    (p95_low, p95_high), (p99_low, p99_high) = (exact_interval(array, q) for q in (95, 99))
    return Summary(
        n=len(array),
        mean=float(array.mean()),
        sd=float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        low=float(array.min()),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        high=float(array.max()),
        p50_low=p50_low,
        p50_high=p50_high,
        p95_low=p95_low,
        p95_high=p95_high,
        p99_low=p99_low,
        p99_high=p99_high,
    )


def bootstrap_interval(
    values: NDArray[np.float64],
    percentile: float,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979) of a percentile of ``values`` that is not far
    out: there it is too narrow, as no resample has more than the largest value.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 0:
        raise ValueError("no values to resample")
    found = _bootstrap((values,), _percentile_of(percentile), confidence, seed).confidence_interval
    # A bound is a percentile of percentiles, and rounding may put it past the values.
    low, high = np.clip(sorted((found.low, found.high)), values.min(), values.max())
    return float(low), float(high)


def exact_interval(
    values: NDArray[np.float64], percentile: int, confidence: float = CONFIDENCE
) -> tuple[float | None, float | None]:
    """Bounds of a percentile that hold for any distribution: order statistics, by the binomial
    count of values below it (Conover, Practical Nonparametric Statistics, section 3.2).

    Together they hold at least as often as ``confidence`` says. A bound is None where no value is
    one: the largest is an upper bound of p95 from 59 values on.
    """
    from scipy.stats import binom

    ordered, n = np.sort(values), len(values)
    left = 1 - confidence + 1e-12  # of rounding
    # The chances that at most 0, 1, ... n - 1 of the values are below the percentile.
    at_most = binom.cdf(np.arange(n), n, percentile / 100)
    ranks = [r for r in range(1, n + 1) if 1 - at_most[r - 1] <= left / 2]
    upper = ranks[0] if ranks else n if 1 - at_most[n - 1] <= left else None
    left -= 1 - float(at_most[upper - 1]) if upper else 0.0
    lower = int((at_most <= left).sum())
    return (
        float(ordered[lower - 1]) if lower else None,
        float(ordered[upper - 1]) if upper else None,
    )


def paired_ratio(
    pairs: Sequence[tuple[float, float]], percentile: int, seed: int = 0
) -> Ratio | None:
    """The percentile of the first values over that of the second, or None if it has no meaning.

    Pairs are resampled whole: what both sides of a pair shared (the question, a busy moment of
    the machine) is in both, and widens the interval of neither. From fewer than
    `RATIO_PAIRS` there is no interval.
    """
    if not pairs:
        return None
    first, second = np.array(pairs, dtype=np.float64).T
    of = _percentile_of(percentile)

    def ratio(over: NDArray[np.float64], under: NDArray[np.float64], axis: int) -> Any:
        return of(over, axis) / of(under, axis)

    # The same seed draws the same pairs, so that no divisor below is another.
    divisors = _bootstrap((second,), of, CONFIDENCE, seed).bootstrap_distribution
    if of(second, 0) <= 0 or (divisors <= 0).any():
        return None
    found = _bootstrap((first, second), ratio, CONFIDENCE, seed).confidence_interval
    interval = (float(found.low), float(found.high))
    enough = len(pairs) >= RATIO_PAIRS[percentile]
    return Ratio(len(pairs), float(ratio(first, second, 0)), interval if enough else None)


def share_interval(part: int, whole: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927), or None of nothing."""
    if whole == 0:
        return None
    from scipy.stats import binomtest

    found = binomtest(part, whole).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def _percentile_of(percentile: float) -> Callable[[NDArray[np.float64], int], Any]:
    return lambda values, axis: np.percentile(values, percentile, axis=axis)


def _bootstrap(samples: Any, statistic: Any, confidence: float, seed: int) -> Any:
    """Resample ``samples`` of one length together; scipy wants two values at the least, so that
    a lone one is there twice: its resamples are the same."""
    from scipy.stats import bootstrap

    if len(samples[0]) == 1:
        samples = tuple(np.repeat(sample, 2) for sample in samples)
    return bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        vectorized=True,
        paired=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
