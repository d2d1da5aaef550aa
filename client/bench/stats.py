"""Percentiles that carry their count."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Summary:
    """Order statistics of ``n`` values; percentiles interpolate linearly between them.

    ``p50_low`` and ``p50_high`` are the 95 % bootstrap interval of the median.
    """

    n: int
    mean: float
    low: float
    p50: float
    p95: float
    p99: float
    high: float
    p50_low: float
    p50_high: float


def summarise(values: Iterable[float | None]) -> Summary | None:
    """Summarise the values that are there, or None if there are none."""
    array = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(array) == 0:
        return None
    p50, p95, p99 = np.percentile(array, [50, 95, 99])
    low, high = bootstrap_interval(array, 50)
    return Summary(
        n=len(array),
        mean=float(array.mean()),
        low=float(array.min()),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        high=float(array.max()),
        p50_low=low,
        p50_high=high,
    )


def bootstrap_interval(
    values: NDArray[np.float64], percentile: float, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979) of a percentile of ``values``.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 0:
        raise ValueError("no values to resample")
    picks = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    estimates = np.percentile(values[picks], percentile, axis=1)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(estimates, [tail, 100 - tail])
    return float(low), float(high)
