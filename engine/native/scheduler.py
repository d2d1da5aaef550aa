"""The thread that owns the device, and the calls' work on it.

Coroutines hand in work and await it; the thread takes from all of it what fits in a step, runs
the step, and hands out what came of it. A cancelled piece of work is acknowledged: when the
coroutine goes on, no step touches its log any more.
"""

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from engine.brain.interface import BrainError
from engine.errors import EngineError
from engine.native.generation import Generation, Inbox
from engine.native.kv_cache import Log
from engine.native.planning import Limits, plan
from engine.native.runner import Feed, Runner
from engine.native.sampling import Chooser, Sampling, choose
from engine.native.work import Prompt, Work
from engine.uncancelled import uncancelled
from engine.worker import Priority

T = TypeVar("T")
U = TypeVar("U")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What the thread has done, for measurements."""

    steps: int = 0
    tokens: int = 0  # positions run through the decoder
    decoded: int = 0
    widest: int = 0  # rows of the largest decode step


class Scheduler:
    """One thread for one device; shared by all calls."""

    def __init__(self, runner: Runner, *, limits: Limits | None = None, seed: int = 0) -> None:
        self.counts = Counts()
        self._runner = runner
        self._limits = limits or Limits()
        self._batches: dict[Callable[[Sequence[Any]], Sequence[Any]], list[Any]] = {}
        self._generator = torch.Generator(runner.decoder.device).manual_seed(seed)
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._order = itertools.count()
        self._works: list[Work] = []
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)
        self._thread.start()

    def open_log(self) -> Log:
        """An empty sequence. Cut, forked and closed within `run` only."""
        return self._runner.pool.open()

    async def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` on the device's thread, between two steps."""
        future: Future[T] = Future()

        def command() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # handed to whoever awaits it
                future.set_exception(error)

        self._commands.put(command)
        return await uncancelled(asyncio.wrap_future(future))

    async def bring_up_to(
        self, log: Log, prompt: Prompt, priority: Priority = Priority.BACKGROUND
    ) -> int:
        """Make ``log`` hold ``prompt``; returns how many of its ids it held before. Cancelled,
        it stops within a step, and the log holds a prefix of the prompt.

        Raises:
            BrainError: the device failed.
            CacheFull: there is no room in the cache.
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
        forks: bool = False,
        may_stop: bool = True,
        inbox: Inbox | None = None,
    ) -> Generation:
        """Bring ``log`` up to ``prompt`` and decode from there; see `Generation`. ``forks``: leave
        ``log`` alone and work on a fork of it, made between two steps when the work begins."""
        work = self._work(log, prompt, Priority.REPLY)
        work.sampling, work.stop_ids, work.limit = sampling, stop_ids, limit
        work.may_stop, work.forks = may_stop, forks
        return Generation(self, work, inbox or Inbox())

    def close(self) -> None:
        """Stop the thread. Work that is still there fails."""
        self._commands.put(self._end)
        self._thread.join()

    async def together(self, function: Callable[[Sequence[U]], Sequence[T]], request: U) -> T:
        """``function`` of all requests that wait for it, those of other calls too, called once
        between two steps; returns what it made of ``request``. Cancelled, it waits for that."""
        future: Future[T] = Future()
        self._commands.put(lambda: self._batches.setdefault(function, []).append((request, future)))
        return await uncancelled(asyncio.wrap_future(future))

    def _work(self, log: Log, prompt: Prompt, priority: Priority) -> Work:
        return Work(log, prompt, priority, next(self._order), Future(), Future())

    def submit(self, work: Work) -> None:
        """Take ``work`` into the steps."""

        def admit() -> None:
            if work.done.done():  # withdrawn before it began
                return
            if self._closing:
                self._fail(work, EngineError("the engine is closing"))
                return
            work.admit()
            self._works.append(work)
            self._retire_finished()

        self._commands.put(admit)

    async def withdraw(self, work: Work) -> None:
        """Take ``work`` out; when this returns no step touches its log."""

        def withdraw() -> None:
            if work in self._works:
                self._works.remove(work)
            if not work.done.done():
                work.done.set_result(None)

        await self.run(withdraw)

    def wake(self) -> None:
        """A row that rested may go on."""
        self._commands.put(lambda: None)

    # On the device's thread from here.

    def _loop(self) -> None:
        idle = True
        while not self._closing:
            self._take_commands(wait=idle)
            together = self._run_together()
            idle = not self._step() and not together

    def _end(self) -> None:
        self._closing = True
        for work in self._works:
            self._fail(work, EngineError("the engine is closing"))
        self._works = []

    def _take_commands(self, *, wait: bool) -> None:
        if wait:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get()()

    def _run_together(self) -> bool:
        batches, self._batches = self._batches, {}
        for function, waiting in batches.items():
            try:
                results = function([request for request, _ in waiting])
                for (_, future), result in zip(waiting, results, strict=True):
                    future.set_result(result)
            except Exception as error:  # the device's own; every call in the batch is told
                logger.exception("a batch of %d requests failed", len(waiting))
                for _, future in waiting:
                    future.set_exception(error)
        return bool(batches)

    def _step(self) -> bool:
        """Run one step; returns whether there was anything to run."""
        works = self._works
        share = plan([work.wish() for work in works], self._limits)
        if not share:
            return False
        chosen = [works[index] for index in share]
        feeds = [work.feed(count) for work, count in zip(chosen, share.values(), strict=True)]
        try:
            outcome = self._runner.step(feeds)
            ready = [
                work
                for index, (work, feed) in enumerate(zip(chosen, feeds, strict=True))
                if feed.wants_scores and index not in outcome.failures
            ]
            tokens = self._choose(outcome.scores, ready)
        except Exception as error:  # the device's own; every call in the step is told
            logger.exception("a step of %d sequences failed", len(chosen))
            failure = BrainError("the brain's model failed")
            failure.__cause__ = error
            for work in chosen:
                self._fail(work, failure)
            self._retire_finished()
            return True
        self._count(feeds, len(ready))
        for index, (work, feed) in enumerate(zip(chosen, feeds, strict=True)):
            if index in outcome.failures:
                self._fail(work, outcome.failures[index])
            else:
                del work.pending[: len(feed.entries)]
        for work, token in zip(ready, tokens, strict=True):
            self._take_token(work, token)
        self._retire_finished()
        return True

    def _choose(self, scores: torch.Tensor | None, works: Sequence[Work]) -> list[int]:
        if scores is None or not works:
            return []
        choosers = [
            Chooser(work.sampling, work.made, () if work.may_stop else tuple(work.stop_ids))
            for work in works
            if work.sampling is not None
        ]
        with torch.inference_mode():
            return choose(scores, choosers, self._generator)

    def _take_token(self, work: Work, token: int) -> None:
        work.made.append(token)
        assert work.deliver is not None
        work.deliver(token)
        if token in work.stop_ids or len(work.made) >= work.limit:
            work.done.set_result(None)
        else:
            work.pending.append(token)

    def _retire_finished(self) -> None:
        for work in self._works:
            if work.sampling is None and not work.pending and not work.done.done():
                work.done.set_result(None)
        self._works = [work for work in self._works if not work.done.done()]

    def _fail(self, work: Work, error: Exception) -> None:
        if not work.admitted.done():
            work.admitted.set_exception(error)
        if not work.done.done():
            work.done.set_exception(error)

    def _count(self, feeds: Sequence[Feed], decoded: int) -> None:
        counts = self.counts
        counts.steps += 1
        counts.tokens += sum(len(feed.entries) for feed in feeds)
        counts.decoded += decoded
        counts.widest = max(counts.widest, decoded)
