"""Blocking work in threads of its own.

asyncio's executor has few threads, and the process waits for them at its end: work that never
returns would hold up both other work and the end.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MAX_THREADS = 64  # at a time; work that never returns keeps one for ever
_places = threading.BoundedSemaphore(MAX_THREADS)


async def in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread; return or raise what it does. If this is cancelled, the work goes
    on.

    Raises:
        RuntimeError: `MAX_THREADS` are at work.
    """
    if not _places.acquire(blocking=False):
        raise RuntimeError(f"{MAX_THREADS} threads are at work and do not return")
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # from here on it cannot be cancelled

    def run() -> None:
        try:
            try:
                result = work()
            finally:
                _places.release()
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, daemon=True, name="phone").start()
    return await asyncio.wrap_future(done)
