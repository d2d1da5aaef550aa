"""An event loop whose clock jumps: waiting costs nothing, and order is exact."""

import asyncio
import selectors
import threading
from typing import Any


class _JumpingSelector:
    """Polls the real selector; when nothing is ready, moves the clock instead of waiting. The
    clock stands while a thread of `duplex.phone.threads` works, which takes none of its time."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = self._inner.select(0)
        if ready:
            return ready
        if _somebody_works():
            return self._inner.select(0.01)
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        self.now_s += timeout
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _somebody_works() -> bool:
    return any(thread.name == "phone" for thread in threading.enumerate())


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` starts at zero and advances only by what is slept."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._jumping.now_s
