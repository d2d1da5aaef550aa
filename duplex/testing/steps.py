"""Blocking work in virtual time."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

from engine.worker import Priority

T = TypeVar("T")


class TimedSteps:
    """Stands in for the worker thread: each step takes ``step_s`` of the loop's time."""

    def __init__(self, step_s: float = 0.02) -> None:
        self._step_s = step_s

    async def run(self, function: Callable[[], T], priority: Priority = Priority.REPLY) -> T:
        """See `engine.worker.Worker.run`."""
        await asyncio.sleep(self._step_s)
        return function()

    async def stream(
        self, iterator: Iterator[T], priority: Priority | Callable[[], Priority] = Priority.REPLY
    ) -> AsyncGenerator[T, None]:
        """See `engine.worker.Worker.stream`."""
        for item in iterator:
            await asyncio.sleep(self._step_s)
            yield item

    def close(self) -> None:
        """Nothing is held."""
