"""Clocks and what is said of a set of times."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

now = time.perf_counter


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th percentile and extremes, in milliseconds.

    Raises:
        ValueError: there is none.
    """
    if not seconds:
        raise ValueError("nothing was timed")
    ms = 1e3 * np.asarray(seconds)
    p50, p95 = np.percentile(ms, (50, 95))
    figures = {"p50": p50, "p95": p95, "min": ms.min(), "max": ms.max()}
    return {"n": len(ms), **{name: round(float(value), 4) for name, value in figures.items()}}


def wait_for(device: torch.device) -> None:
    """Until all work that was queued on ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times(
    function: Callable[[], object], device: torch.device, repetitions: int, warm: int = 2
) -> list[float]:
    """Seconds of each call, the device's part included, after ``warm`` that do not count."""
    seconds = []
    for index in range(warm + repetitions):
        wait_for(device)
        start = now()
        function()
        wait_for(device)
        if index >= warm:
            seconds.append(now() - start)
    return seconds


@contextmanager
def lap(seconds: list[float]) -> Iterator[None]:
    """Add how long the block took."""
    start = now()
    yield
    seconds.append(now() - start)
