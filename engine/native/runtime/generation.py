"""An answer's tokens on their way from the device's thread to the coroutine that reads them."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from engine.native.kv_cache import Log
from engine.native.runtime.work import RUN_AHEAD_TOKENS, Work


class Device(Protocol):
    """The part of the scheduler that a generation needs."""

    def submit(self, work: Work) -> None:
        """Take ``work`` into the steps."""

    async def withdraw(self, work: Work) -> None:
        """Take ``work`` out; when this returns no step touches its log."""

    def wake(self) -> None:
        """A row that rested may go on."""


class LoopCallbacks:
    """Callbacks from the device's thread to event loops.

    They are handed over once a step for all rows, because waking a loop costs more than the
    callbacks themselves.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """Have ``callback`` called on ``loop`` after the next `flush`."""
        self._waiting.setdefault(loop, []).append(callback)

    def flush(self) -> None:
        """Hand over all callbacks that were added."""
        waiting, self._waiting = self._waiting, {}
        for loop, callbacks in waiting.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is no reader
                loop.call_soon_threadsafe(_call_all, callbacks)


def _call_all(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


class Inbox:
    """Tokens of one or more generations, in the order in which they were decoded. Bounded by the
    generations, which rest when they are too far ahead."""

    def __init__(self, callbacks: LoopCallbacks) -> None:
        self._callbacks = callbacks
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Generation, int | None]] = asyncio.Queue()

    async def get(self) -> "tuple[Generation, int | None]":
        """The next token and whose it is; None: that generation has ended.

        Raises:
            BrainError: the device failed.
            CacheFull: there is no room in the cache.
        """
        generation, token = await self._queue.get()
        if token is None:
            generation.check()
        else:
            generation.take()
        return generation, token

    def put(self, generation: "Generation", token: int | None) -> None:
        """From the device's thread."""
        self._callbacks.add(self._loop, lambda: self._queue.put_nowait((generation, token)))


class Generation:
    """Tokens of one answer as they are decoded, stop token included if one came.

    `start` submits the row and `stop` withdraws it; as an async context manager it does both.
    Afterwards the log holds a prefix of the prompt and the tokens. It is an async iterator of its
    tokens if it has an inbox of its own.
    """

    def __init__(self, device: Device, work: Work, inbox: Inbox) -> None:
        self._device = device
        self._work = work
        self._inbox = inbox
        work.deliver = lambda token: inbox.put(self, token)
        work.done.add_done_callback(lambda _: inbox.put(self, None))

    def start(self) -> None:
        """Submit the row. Whoever starts it has to `stop` it.

        Raises:
            EngineError: the engine is closed, or has failed.
        """
        self._device.submit(self._work)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Withdraw the row, if it still runs; afterwards no step touches the log. May be
        repeated."""
        if not self._work.done.done():
            await self._device.withdraw(self._work)

    @property
    def log(self) -> Log:
        """The sequence that is decoded; its own, if it was to fork, once it was admitted."""
        return self._work.log

    async def cached(self) -> int:
        """How many of the prompt's ids were in the log.

        Raises:
            EngineError: as when iterating.
        """
        return await asyncio.shield(asyncio.wrap_future(self._work.admitted))

    def check(self) -> None:
        """Raise the error that ended the generation, if one did."""
        self._work.done.result()

    def take(self) -> None:
        """One token was read; a row that rested goes on."""
        work = self._work
        work.consumed += 1
        # The thread may have put it to rest before it could see this: a nudge too many costs
        # nothing.
        if len(work.made) - work.consumed >= RUN_AHEAD_TOKENS - 1:
            self._device.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        """For a generation with an inbox of its own. Raises as `Inbox.get`."""
        _, token = await self._inbox.get()
        if token is None:
            raise StopAsyncIteration
        return token
