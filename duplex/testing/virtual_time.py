"""An event loop whose clock jumps: waiting costs nothing, and order is exact.

A test that sleeps for an hour takes a millisecond, and gives the same result on every machine.
Work in a thread (`asyncio.to_thread`, or the telephone's) takes none of the loop's time: the
clock stands until the thread has its result.
"""

import asyncio
import functools
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_LOOK_S = 0.01  # of real time, between looks at threads that work


def virtual(test: Coroutine[Any, Any, T]) -> T:
    """Run ``test`` to its end in virtual time, on a loop of its own; returns its result.

    Raises:
        RuntimeError: every task waits and no timer is set, so it would never end.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(test)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an async test one that pytest, unittest or you can call: see `virtual`."""

    @functools.wraps(test)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        return virtual(test(*arguments, **options))

    return run


class _JumpingSelector:
    """Polls the real selector; when nothing is ready, moves the clock instead of waiting."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.now_s = 0.0
        self.at_work = 0  # calls in the loop's executor that have not returned

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = self._inner.select(0)
        if ready:
            return ready
        if self.at_work or _phone_works():
            return self._inner.select(_LOOK_S)
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        self.now_s += timeout
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _phone_works() -> bool:
    """Whether a thread of `duplex.phone.threads` runs."""
    return any(thread.name == "phone" for thread in threading.enumerate())


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` starts at zero and advances only by what is slept."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)  # type: ignore[arg-type]

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As every loop does; the clock stands until ``func`` returns."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.at_work += 1
        future.add_done_callback(self._is_done)
        return future

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        """As every loop does; the clock stands until the threads have ended."""
        self._jumping.at_work += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self._jumping.at_work -= 1

    def _is_done(self, _: object) -> None:
        self._jumping.at_work -= 1
