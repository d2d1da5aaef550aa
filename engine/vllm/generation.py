"""Tokens of one answer as vLLM makes them, kept to the rules of calls of functions.

vLLM runs ahead and knows nothing of the rules. Each token is looked at when it comes: the first one
that may not stand there ends the request, and another goes on from before it, whose first token is
drawn among those that may. A token that is kept was drawn from all, and one that is not is drawn
anew from those allowed: together that is a draw from those allowed. Models that write their calls
as they were trained to are hardly ever stopped.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from engine.brain.call_guard import CallGuard
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.work import Prompt
from engine.uncancelled import uncancelled
from engine.vllm.client import Draw
from engine.vllm.stream import Part


class Appends(Protocol):
    """The part of a log that a generation needs; see `engine.vllm.runtime.VllmLog`."""

    async def append(self, prompt: Prompt, ids: Sequence[int], draw: Draw) -> tuple[Part, int]:
        """See `VllmLog.append`."""

    async def drop(self) -> None:
        """See `VllmLog.drop`."""


class Inbox:
    """Tokens of one or more generations, in the order in which they came. Bounded by the
    generations' limits."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[VllmGeneration, int | None]] = asyncio.Queue()

    async def get(self) -> "tuple[VllmGeneration, int | None]":
        """The next token and whose it is; None: that generation has ended.

        Raises:
            EngineError: vLLM failed.
        """
        generation, token = await self._queue.get()
        if token is None:
            generation.check()
        return generation, token

    def put(self, generation: "VllmGeneration", token: int | None) -> None:
        """Add a token, or the end."""
        self._queue.put_nowait((generation, token))


class VllmGeneration:
    """A generation; `start` begins it and `stop` ends it. Its tokens come to the inbox."""

    def __init__(
        self,
        log: Appends,
        prompt: Prompt,
        sampling: Sampling,
        *,
        stop_ids: frozenset[int],
        limit: int,
        before: Sequence[int],
        must_say: Callable[[int], bool] | None,
        guard: CallGuard | None,
        inbox: Inbox,
    ) -> None:
        self.log = log
        self._prompt = prompt
        self._sampling = sampling
        self._stop_ids = stop_ids
        self._limit = limit
        self._before = before
        self._must_say = must_say  # until it was true of a token
        self._guard = guard
        self._inbox = inbox
        self._made: list[int] = []
        self._banned: list[int] = []  # refused for the next token
        self._allowed: tuple[int, ...] = ()  # one of them is the next token, if there are any
        self._cached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. Whoever starts it has to `stop` it."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it; afterwards nothing is appended to its log. May be repeated."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await uncancelled(asyncio.wait({self._task}))

    async def cached(self) -> int:
        """How many of the prompt's ids were in the log or in vLLM's prefix cache."""
        return await asyncio.shield(self._cached)

    def check(self) -> None:
        """Raise the error that ended the generation, if one did."""
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        try:
            while not self._is_over():
                await self._go_on()
        except Exception as error:  # raised in the reader, by `check`
            self._error = error
        finally:
            if not self._cached.done():
                self._cached.set_result(0)
            self._inbox.put(self, None)

    async def _go_on(self) -> None:
        """Take what needs no model, then tokens until one may not stand where it came."""
        if self._take_forced():
            return
        draw = self._draw()
        ids = [*self._prompt.ids, *self._made]
        part, held = await self.log.append(self._prompt, ids, draw)
        try:
            async for token in part:
                if not self._cached.done():
                    self._cached.set_result(held or part.cached)
                if self._in_call:  # a parser may take milliseconds
                    refused = await asyncio.to_thread(self._refuses, token)
                else:
                    refused = self._refuses(token)
                if refused:
                    break
                is_penalised = self._penalty != 1
                self._take(token)
                if self._is_over() or self._may_only_stop or (is_penalised and self._in_call):
                    break
        finally:
            if not part.is_over:  # it would run on to its limit
                await self.log.drop()

    def _is_over(self) -> bool:
        made = self._made
        return bool(made) and (made[-1] in self._stop_ids or len(made) >= self._limit)

    @property
    def _in_call(self) -> bool:
        return self._guard is not None and self._guard.in_call

    @property
    def _may_only_stop(self) -> bool:
        return self._guard is not None and self._guard.is_over

    @property
    def _penalty(self) -> float:
        """A call has to repeat itself: brackets, quotes, what was said."""
        return 1.0 if self._in_call else self._sampling.repetition_penalty

    def _take_forced(self) -> bool:
        if self._guard is None:
            return False
        forced = [min(self._stop_ids)] if self._may_only_stop else self._guard.forced()
        for token in forced:
            if not self._is_over():
                self._take(token)
        return bool(forced)

    def _refuses(self, token: int) -> bool:
        """Whether ``token`` may not come next; then it is known what may."""
        if self._must_say is not None and not self._in_call and token in self._stop_ids:
            self._banned += self._stop_ids
            return True
        if self._guard is None:
            return False
        if self._guard.refuses(token):
            self._banned.append(token)
            return True
        bits = self._guard.mask()
        if bits is None or (token // 8 < len(bits) and bits[token // 8] >> token % 8 & 1):
            return False
        self._allowed = tuple(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist())
        return True

    def _take(self, token: int) -> None:
        self._banned, self._allowed = [], ()
        self._made.append(token)
        if self._guard is not None:
            self._guard.take(token)
        if self._must_say is not None and self._must_say(token):
            self._must_say = None
        self._inbox.put(self, token)

    def _draw(self) -> Draw:
        is_free = not (self._banned or self._allowed)
        sampling = self._sampling
        return Draw(
            limit=self._limit - len(self._made) if is_free else 1,
            stop_ids=self._stop_ids,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repetition_penalty=self._penalty,
            said=(*self._before, *self._made),
            banned=tuple(self._banned),
            allowed=self._allowed,
            must_begin=self._must_say is not None and not self._in_call,
        )
