"""Percentiles that carry their count, how sure they are, and whether the count bears them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log

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
    picks = _picks(len(values), seed)
    return _interval(np.percentile(values[picks], percentile, axis=1), confidence)


def exact_interval(
    values: NDArray[np.float64], percentile: int, confidence: float = CONFIDENCE
) -> tuple[float | None, float | None]:
    """Bounds of a percentile that hold for any distribution: order statistics, by the binomial
    count of values below it (Conover, Practical Nonparametric Statistics, section 3.2).

    Together they hold at least as often as ``confidence`` says. A bound is None where no value is
    one: the largest is an upper bound of p95 from 59 values on.
    """
    ordered, n = np.sort(values), len(values)
    share, left = percentile / 100, 1 - confidence + 1e-12  # of rounding
    logs = [lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in range(n)]
    chances = [exp(c + k * log(share) + (n - k) * log(1 - share)) for k, c in enumerate(logs)]
    # The chances that at most 0, 1, ... n - 1 of the values are below the percentile.
    at_most = np.cumsum(chances)
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
    table = np.array(pairs, dtype=np.float64)
    first, second = np.percentile(table, percentile, axis=0)
    picks = _picks(len(table), seed)
    over, under = np.percentile(table[picks], percentile, axis=1).T
    if second <= 0 or (under <= 0).any():
        return None
    enough = len(table) >= RATIO_PAIRS[percentile]
    interval = _interval(over / under, CONFIDENCE) if enough else None
    return Ratio(len(table), float(first / second), interval)


def share_interval(part: int, whole: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927), or None of nothing."""
    if whole == 0:
        return None
    z = 1.959964
    share, spread = part / whole, z * z / whole
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / whole + spread / whole / 4) / (1 + spread)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def _picks(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


def _interval(estimates: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(estimates, [tail, 100 - tail])
    return float(low), float(high)
