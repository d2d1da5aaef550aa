"""Decides whether this machine can take another call, by measurements while it holds the others."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from duplex.config import LimitsConfig
from duplex.metrics import Metrics, percentile

_TICK_S = 0.1
_TICKS = 50  # five seconds


class Load:
    """How late the event loop runs, and how late recent turns were."""

    def __init__(self, limits: LimitsConfig, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._late_s: deque[float] = deque(maxlen=_TICKS)

    @property
    def lag_s(self) -> float:
        """How late the event loop has run in the last seconds (p95)."""
        return percentile(self._late_s, 0.95) if self._late_s else 0.0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncGenerator[None, None]:
        """Measure the event loop while the block runs."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def note_lag(self, late_s: float) -> None:
        """Note one measurement of the event loop."""
        self._late_s.append(late_s)
        self._metrics.observe("duplex_event_loop_lag_seconds", late_s)

    def refusal(self, now_s: float) -> str | None:
        """Return why another call would be held badly, in words for the caller; None if it would
        not."""
        lag_ms = self.lag_s * 1000
        if self._limits.refuse_lag_ms and lag_ms > self._limits.refuse_lag_ms:
            return f"The server is busy: its event loop is {lag_ms:.0f} ms late."
        stage, limit_ms = self._limits.refuse_stage, self._limits.refuse_stage_ms
        reached_s = self._metrics.recent_p95_s(stage, now_s)
        if limit_ms and reached_s is not None and reached_s * 1000 > limit_ms:
            return f"The server is busy: its turns reach {stage!r} after {reached_s * 1000:.0f} ms."
        return None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.note_lag(max(0.0, loop.time() - due_s))
