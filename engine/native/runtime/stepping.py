"""The steps of the device; knows neither threads nor coroutines."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from engine.brain.interface import BrainError
from engine.errors import EngineError
from engine.native.runtime.memory import Memory
from engine.native.runtime.planning import Limits, plan
from engine.native.runtime.runner import Runner, StepInput
from engine.native.runtime.sampling import NO_TOKEN, Chooser, choose
from engine.native.runtime.work import Work

logger = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 8  # of whole steps, after which the device is taken to be lost

BatchFunction = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(slots=True)
class Counts:
    """Counts of the steps, for measurements."""

    steps: int = 0
    tokens: int = 0  # positions run through the decoder
    decoded: int = 0
    widest: int = 0  # rows of the largest decode step


class DeviceLost(RuntimeError):
    """The device computes nothing any more. Ends its thread: a process can only be restarted."""


class Stepper:
    """Holds the work of all calls and takes it into steps."""

    def __init__(self, runner: Runner, limits: Limits, seed: int) -> None:
        self.counts = Counts()
        self.memory = Memory(runner.pool)
        self._runner = runner
        self._limits = limits
        self._generator = torch.Generator(runner.decoder.device).manual_seed(seed)
        self._failures = 0  # whole steps and requests that failed since the last success
        self._works: list[Work] = []
        self._turns = 0  # tokens decoded, to number the turns of rows that share steps
        self._requests: dict[BatchFunction, list[tuple[Any, Future[Any]]]] = {}

    def add(self, work: Work) -> None:
        """Add ``work``, unless it was withdrawn before it began."""
        if work.done.done():
            return
        try:
            work.admit()
        except Exception as error:
            logger.exception("a sequence could not be taken up")
            work.fail(error)
            return
        self.memory.took(work.log)
        self._works.append(work)
        self._retire()

    def remove(self, work: Work) -> None:
        """Remove ``work``."""
        if not work.done.done():
            work.done.set_result(None)
        self._retire()

    def ask(self, function: BatchFunction, request: object, future: "Future[Any]") -> None:
        """Have ``function`` called, once for all that are asked of it before the next step."""
        self._requests.setdefault(function, []).append((request, future))

    def fail_all(self, error: EngineError) -> None:
        """End all work and all requests with ``error``."""
        for waiting in self._requests.values():
            for _, future in waiting:
                future.set_exception(error)
        for work in self._works:
            work.fail(error)
        self._works, self._requests = [], {}

    def advance(self) -> bool:
        """Answer all requests and run one step; returns whether there was anything to do."""
        answered = self._answer()
        return self._step() or answered

    def _answer(self) -> bool:
        requests, self._requests = self._requests, {}
        for function, waiting in requests.items():
            try:
                results = function([request for request, _ in waiting])
                for (_, future), result in zip(waiting, results, strict=True):
                    future.set_result(result)
            except Exception as error:  # the device's own error, raised in every call among them
                logger.exception("%d requests failed together", len(waiting))
                failure = EngineError("the engine's model failed")
                failure.__cause__ = error
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(failure)
                self._note_failure(error)
            else:
                self._failures = 0
        return bool(requests)

    def _step(self) -> bool:
        share = self._plan()
        if not share:
            return False
        chosen, feeds = self._feeds(share)
        try:
            outcome = self._runner.step(feeds)
            ready = [
                work
                for index, (work, feed) in enumerate(zip(chosen, feeds, strict=True))
                if feed.wants_scores and index not in outcome.failures
            ]
            tokens = self._choose(outcome.scores, ready)
        except Exception as error:  # the device's own error, raised in every call of the step
            logger.exception("a step of %d sequences failed", len(chosen))
            failure = BrainError("the brain's model failed")
            failure.__cause__ = error
            for work in chosen:
                work.fail(failure)
            self._retire()
            self._note_failure(error)
            return True
        self._failures = 0
        self._count(feeds, len(ready))
        for index, (work, feed) in enumerate(zip(chosen, feeds, strict=True)):
            if index in outcome.failures:
                work.fail(outcome.failures[index])
            else:
                work.fed(feed)
        for work, token in zip(ready, tokens, strict=True):
            self._turns += 1
            work.served = self._turns
            self._give(work, token)
        self._retire()
        return True

    def _give(self, work: Work, token: int) -> None:
        """Hand its next token to a work. What goes wrong concerns its own call only."""
        if token == NO_TOKEN:
            logger.error("a sequence of %d has scores that are no numbers", work.log.length)
            # What the log holds may be broken, so that every later answer would be.
            work.log.truncate(0)
            work.fail(BrainError("the brain's scores are not finite numbers"))
            return
        try:
            work.take(token)
        except Exception as error:  # its reader failed
            work.fail(error)

    def _feeds(self, share: dict[int, int]) -> tuple[list[Work], list[StepInput]]:
        """The works of a step and what each feeds. One that cannot say fails alone."""
        chosen: list[Work] = []
        feeds: list[StepInput] = []
        for index, count in share.items():
            work = self._works[index]
            try:
                feeds.append(work.feed(count))
                chosen.append(work)
            except Exception as error:
                logger.exception("a sequence had nothing to feed")
                work.fail(error)
        return chosen, feeds

    def _plan(self) -> dict[int, int]:
        """How many of its ids each work runs in the next step, by its number."""
        while share := plan([work.candidate() for work in self._works], self._limits):
            if fits := self.memory.fitting(share, self._works):
                return fits
            if self.memory.preempt(self._works):
                continue
            first = next(iter(share))
            if any(work.log.length for work in self._works if work is not self._works[first]):
                return {}  # they rest, and end one day
            return {first: share[first]}  # it is too long for the cache, which its reader is told
        return {}

    def _note_failure(self, error: Exception) -> None:
        """One failure may be one call's fault, or a lack of memory that passes. An error of the
        device itself stays, and shows again when the device is waited for.

        Raises:
            DeviceLost: it stays, or too many failed one after another.
        """
        self._failures += 1
        if self._failures >= _FAILURES_IN_A_ROW:
            raise DeviceLost(f"{self._failures} steps failed in a row") from error
        if self._runner.decoder.device.type == "cuda":
            try:
                torch.cuda.synchronize(self._runner.decoder.device)
            except RuntimeError as lasting:
                raise DeviceLost(str(lasting)) from error

    def _choose(self, scores: torch.Tensor | None, works: Sequence[Work]) -> list[int]:
        if scores is None or not works:
            return []
        choosers = [chooser for work in works if (chooser := work.chooser()) is not None]
        with torch.inference_mode():
            tokens = choose(scores, choosers, self._generator)
            for index, work in enumerate(works):
                if tokens[index] == NO_TOKEN or work.guard is None:
                    continue
                while work.guard.refuses(tokens[index]):
                    # What was penalised and masked stays so in the scores.
                    scores[index, tokens[index]] = -torch.inf
                    again = Chooser(choosers[index].sampling, ())
                    [tokens[index]] = choose(scores[index : index + 1], [again], self._generator)
            return tokens

    def _retire(self) -> None:
        for work in self._works:
            if work.sampling is None and not work.pending and not work.done.done():
                work.done.set_result(None)
        ended = [work for work in self._works if work.done.done()]
        if not ended:
            return
        self._works = [work for work in self._works if not work.done.done()]
        for work in ended:
            self.memory.rests(work.log)
        for work in self._works:
            work.waits = False

    def _count(self, feeds: Sequence[StepInput], decoded: int) -> None:
        counts = self.counts
        counts.steps += 1
        counts.tokens += sum(len(feed.entries) for feed in feeds)
        counts.decoded += decoded
        counts.widest = max(counts.widest, decoded)
