"""The thread that owns a device.

Work is submitted in small steps, and the most urgent step runs next. A decode step for a caller
who waits in silence therefore never waits for a whole synthesis of another call, and a cancelled
job ends between two steps.

It is our own, because an executor has no priorities and does not wait for a step that runs on after
its caller was cancelled.
"""

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


class Priority(IntEnum):
    """Lower runs first; equals run in order of arrival, so streams take turns step by step."""

    REPLY = 0  # a caller is waiting in silence for this
    FLOW = 1  # speech is playing; this keeps it fed
    BACKGROUND = 2  # partial transcripts, prefill ahead of need


class Worker:
    """A named thread with a queue of steps.

    The queue is bounded by its users: every coroutine waits for its step, so there is at most
    one step per coroutine in it.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        """``threads`` more than one: steps that wait for other machines, several at a time."""
        self._steps: queue.PriorityQueue[tuple[int, int, Future[Any], Callable[[], Any] | None]]
        self._steps = queue.PriorityQueue()
        self._order = itertools.count()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[], T], priority: Priority = Priority.REPLY) -> T:
        """Call ``function`` on the worker's thread and return its result or raise its error.

        If the caller is cancelled, a step that has not started never runs, and one that has
        is waited for: when this returns, the thread has let go of what the step used.

        Raises:
            RuntimeError: the worker is closed.
        """
        if self._is_closed:
            raise RuntimeError("the worker is closed")
        future: Future[T] = Future()
        self._steps.put((int(priority), next(self._order), future, function))
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if not future.cancel():
                with contextlib.suppress(
                    Exception
                ):  # the caller was cancelled: nobody reads the result
                    await asyncio.shield(asyncio.wrap_future(future))
            raise

    async def stream(
        self,
        iterator: Iterator[T],
        priority: Priority | Callable[[], Priority] = Priority.REPLY,
    ) -> AsyncGenerator[T, None]:
        """Yield what ``iterator`` yields; each step runs on the worker's thread when its result
        is asked for, so a consumer that waits also stops the producer.

        ``priority`` may be a function, asked before each step. Closing this generator closes
        the iterator on the worker's thread first.
        """
        choose = priority if callable(priority) else lambda: priority
        try:
            while (item := await self.run(lambda: next(iterator, _END), choose())) is not _END:
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                await self.run(close, Priority.REPLY)

    def close(self) -> None:
        """Run the steps already queued, then stop. The worker cannot be used afterwards."""
        self._is_closed = True
        for _ in self._threads:
            self._steps.put((max(Priority) + 1, next(self._order), Future(), None))
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while True:
            _, _, future, function = self._steps.get()
            if function is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # raised in the coroutine that awaits the step
                future.set_exception(error)
