"""Prefill ahead of need, which a newer prefill or an answer of the same session replaces."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class PrefillTask:
    """The newest prefill of one session. At most one runs."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None  # it may have ended

    async def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Do ``work``; returns early if `stop` is called meanwhile. Raises what it raises."""
        task = self._task = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await _end(task)  # this one only: a newer one may have taken its place
            raise
        if not task.cancelled():
            task.result()

    async def stop(self) -> None:
        """Cancel the prefill in flight; at most one step of it is still waited for.

        Another waiter may start a new prefill meanwhile; that one is stopped as well.
        """
        while self._task is not None and not self._task.done():
            await _end(self._task)


async def _end(task: "asyncio.Task[Any]") -> None:
    """Cancel ``task`` and wait for it."""
    if not task.cancelling():  # a second cancel would not wait for the step in flight
        task.cancel()
    await asyncio.wait({task})
