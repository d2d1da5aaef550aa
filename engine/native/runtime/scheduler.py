"""The thread that owns the device.

Coroutines submit work and await it. The thread takes as much of it as fits in a step, runs the
step, and hands the results out. Cancelling work waits for the thread: when the coroutine goes on,
no step touches its log any more.
"""

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import torch

from engine.brain.call_guard import CallGuard
from engine.errors import EngineError
from engine.native.kv_cache import Log
from engine.native.runtime.generation import Generation, Inbox, LoopCallbacks
from engine.native.runtime.memory import Memory
from engine.native.runtime.planning import Limits
from engine.native.runtime.runner import Runner
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.stepping import Counts, Stepper
from engine.native.runtime.work import Prompt, Work
from engine.uncancelled import uncancelled
from engine.worker import Priority

T = TypeVar("T")
U = TypeVar("U")
logger = logging.getLogger(__name__)


class Scheduler:
    """One thread for one device; shared by all calls."""

    def __init__(self, runner: Runner, *, limits: Limits | None = None, seed: int = 0) -> None:
        self.runner = runner  # used on the device's thread only
        self._stepper = Stepper(runner, limits or Limits(), seed)
        self._callbacks = LoopCallbacks()
        # None is a nudge. Bounded by the calls: each waits for what it has put here.
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._order = itertools.count()
        self._closing = False  # set on the thread
        self._gate = threading.Lock()
        self._ended: str | None = None  # why, once nothing is taken any more; under the gate
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Counts of the steps so far."""
        return self._stepper.counts

    @property
    def memory(self) -> Memory:
        """What gave way when the cache was full."""
        return self._stepper.memory

    @property
    def is_alive(self) -> bool:
        """Whether work is still taken; False once it was closed or its device was lost."""
        with self._gate:
            return self._ended is None

    def open_log(self) -> Log:
        """An empty sequence. Cut, forked and closed within `run` only."""
        return self.runner.pool.open()

    async def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` on the device's thread, between two steps.

        Raises:
            EngineError: the engine is closed, or has failed.
        """
        future: Future[T] = Future()

        def command() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # raised in the coroutine that awaits it
                future.set_exception(error)

        self._put(command)
        return await uncancelled(asyncio.wrap_future(future))

    async def run_batched(self, function: Callable[[Sequence[U]], Sequence[T]], request: U) -> T:
        """Call ``function`` once for all requests that wait for it, also those of other calls,
        between two steps; return its result for ``request``. A cancelled caller waits for it.

        Raises:
            EngineError: it failed, or as `run`.
        """
        future: Future[T] = Future()
        self._put(lambda: self._stepper.ask(function, request, future))
        return await uncancelled(asyncio.wrap_future(future))

    async def bring_up_to(
        self, log: Log, prompt: Prompt, priority: Priority = Priority.BACKGROUND
    ) -> int:
        """Make ``log`` hold ``prompt``; return how many of its ids it held before.

        If the caller is cancelled, this stops within a step, and the log holds a prefix of the
        prompt.

        Raises:
            BrainError: the device failed.
            CacheFull: there is no room in the cache.
            EngineError: as `run`.
        """
        work = self._work(log, prompt, priority)
        self.submit(work)
        try:
            await asyncio.shield(asyncio.wrap_future(work.done))
        except asyncio.CancelledError:
            await self.withdraw(work)
            raise
        return work.admitted.result()

    def generate(
        self,
        log: Log,
        prompt: Prompt,
        sampling: Sampling,
        *,
        stop_ids: frozenset[int],
        limit: int,
        before: Sequence[int] = (),
        forks: bool = False,
        must_say: Callable[[int], bool] | None = None,
        guard: CallGuard | None = None,
        inbox: Inbox | None = None,
    ) -> Generation:
        """Bring ``log`` up to ``prompt`` and decode from there; see `Generation`.

        ``before``: tokens of the same answer that the prompt holds, for the repetition penalty.
        ``forks``: leave ``log`` alone and work on a fork of it, made between two steps when the
        work begins. ``must_say`` is called with every token, on the device's thread, which runs
        ahead of the reader; no stop token comes before it has returned true. ``guard`` is used on
        that thread as well.
        """
        work = self._work(log, prompt, Priority.REPLY)
        work.sampling, work.stop_ids, work.limit = sampling, stop_ids, limit
        work.must_say, work.guard = must_say, guard
        work.forks, work.before = forks, before
        return Generation(self, work, inbox or self.open_inbox())

    def open_inbox(self) -> Inbox:
        """An inbox for the tokens of several generations."""
        return Inbox(self._callbacks)

    def submit(self, work: Work) -> None:
        """Add ``work`` to the steps. Raises as `run`."""
        self._put(lambda: self._stepper.add(work))

    async def withdraw(self, work: Work) -> None:
        """Remove ``work``; when this returns, no step touches its log."""
        with contextlib.suppress(EngineError):  # a thread that has ended touches nothing
            await self.run(lambda: self._stepper.remove(work))

    def wake(self) -> None:
        """A row that rested may go on."""
        self._commands.put(None)

    def close(self) -> None:
        """Stop the thread. Work that is still there fails."""

        def stop() -> None:
            self._closing = True

        with contextlib.suppress(EngineError):  # it has ended already
            self._put(stop)
        self._thread.join()

    def _work(self, log: Log, prompt: Prompt, priority: Priority) -> Work:
        return Work(log, prompt, priority, next(self._order), Future(), Future())

    def _put(self, command: Callable[[], None]) -> None:
        with self._gate:
            if self._ended is not None:
                raise EngineError(self._ended)
            self._commands.put(command)

    # On the device's thread from here.

    def _run(self) -> None:
        device = self.runner.decoder.device
        ending = "the engine is closing"
        try:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            self._loop()
        except BaseException:
            logger.exception("the device's thread has failed")
            ending = "the engine has failed"
        with self._gate:
            self._ended = ending
        self._take_commands()
        self._stepper.fail_all(EngineError(ending))
        self._callbacks.flush()

    def _loop(self) -> None:
        while not self._closing:
            stepped = self._stepper.advance()
            self._callbacks.flush()
            if not stepped:
                self._take(self._commands.get())
            self._take_commands()
            self._callbacks.flush()

    def _take_commands(self) -> None:
        while not self._commands.empty():
            self._take(self._commands.get())

    def _take(self, command: Callable[[], None] | None) -> None:
        if command is not None:
            command()
