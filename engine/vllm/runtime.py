"""`engine.native.interfaces.Runtime` on vLLM: the log of a call is a request that stays open.

While the caller speaks, the words that two partial transcripts in succession agree on are appended
to it. At the end of the turn only the rest is left, and the answer is made in the same request. A
log that has to be cut is opened again, by the prefix cache.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from engine.brain.call_guard import CallGuard
from engine.brain.interface import BrainError
from engine.brain.token_log import common_prefix
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.work import Prompt
from engine.uncancelled import uncancelled
from engine.vllm.client import AHEAD, Chunk, Client, Draw
from engine.vllm.generation import Inbox, VllmGeneration
from engine.vllm.stream import Part, Stream

T = TypeVar("T")


class VllmLog:
    """A sequence of ids, as much of it in vLLM's cache as was asked for. One thing at a time is
    done with it."""

    def __init__(self, runtime: "VllmRuntime") -> None:
        self.before: Sequence[int] | None = None  # the prompt that it was last brought up to
        self.stream: Stream | None = None
        self._runtime = runtime

    @property
    def entries(self) -> list[int]:
        """The ids that the open request holds."""
        return [] if self.stream is None or self.stream.is_over else self.stream.held

    def fork(self) -> "VllmLog":
        """An empty log; what both have in common is found in the prefix cache."""
        return VllmLog(self._runtime)

    async def append(self, prompt: Prompt, ids: Sequence[int], draw: Draw) -> tuple[Part, int]:
        """Make the log hold ``ids`` of ``prompt``, and what is drawn after them. Returns the tokens
        to come, and how many of the ids it held before, or 0 if it had to be opened again."""
        held = self.entries
        if len(held) >= len(ids) or list(ids[: len(held)]) != held:
            await self.drop()
            held = []
        await self._runtime.make_room(self, len(ids) - len(held) + draw.limit)
        if self.stream is None or self.stream.is_over:
            self.stream, held = Stream(self._runtime.client), []
        start = len(held)
        part = self.stream.feed(Chunk(ids[start:], draw, prompt.sounds))
        self._runtime.used(self)
        return part, start

    async def drop(self) -> None:
        """Give back what vLLM keeps for it, at once; the prefix cache may hold it for longer."""
        stream, self.stream = self.stream, None
        self._runtime.forget(self)
        if stream is not None:
            await uncancelled(stream.abort())

    def close(self) -> None:
        """Drop it; called within `VllmRuntime.run`."""
        self._runtime.dropping(self.drop())


class VllmRuntime:
    """One vLLM engine, shared by all calls."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._open: dict[VllmLog, None] = {}  # those with a request, the last used at the end
        self._dropping: set[asyncio.Task[None]] = set()

    @property
    def is_alive(self) -> bool:
        """See `Runtime`."""
        return self.client.is_alive

    def open_log(self) -> VllmLog:
        """An empty log."""
        return VllmLog(self)

    async def run(self, function: Callable[[], T]) -> T:
        """See `Runtime`; what ``function`` closes is closed when this returns."""
        result = function()
        if self._dropping:
            await uncancelled(asyncio.wait(set(self._dropping)))
        return result

    async def bring_up_to(self, log: VllmLog, prompt: Prompt) -> int:
        """See `Runtime`: what this prompt and the last one have in common is appended. A cancelled
        caller leaves it on its way.

        Raises:
            BrainError: vLLM failed.
        """
        ids, before = prompt.ids, log.before
        log.before = ids
        stable = len(ids) if before is None else common_prefix(before, ids)
        held = log.entries
        same = common_prefix(held, ids)
        if same < len(held):
            await log.drop()
        elif stable <= same:
            return same
        if stable:
            part, _ = await log.append(prompt, ids[:stable], AHEAD)
            async for _ in part:
                pass
        return same

    def generate(
        self,
        log: VllmLog,
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
    ) -> VllmGeneration:
        """See `Runtime`."""
        log.before = None  # what is prefilled next goes on from an answer
        return VllmGeneration(
            log.fork() if forks else log,
            prompt,
            sampling,
            stop_ids=stop_ids,
            limit=limit,
            before=before,
            must_say=must_say,
            guard=guard,
            inbox=inbox or Inbox(),
        )

    def open_inbox(self) -> Inbox:
        """See `Runtime`."""
        return Inbox()

    def close(self) -> None:
        """Stop the engine."""
        self.client.close()

    def used(self, log: VllmLog) -> None:
        """``log`` has a request, and was used now."""
        self._open.pop(log, None)
        self._open[log] = None

    def forget(self, log: VllmLog) -> None:
        """``log`` has no request."""
        self._open.pop(log, None)

    def dropping(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work`` at the end of `run`."""
        task = asyncio.create_task(work)
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def make_room(self, log: VllmLog, count: int) -> None:
        """Have requests that wait for their callers give way before ``count`` ids are appended to
        ``log``, the longest unused first.

        All that are open may hold half of the cache, and half of the places. vLLM does not preempt
        those that wait: without a bound the others could wait for ever.

        Raises:
            BrainError: vLLM is gone.
        """
        if not self.is_alive:
            raise BrainError("the brain's engine died")
        room = self.client.capacity_tokens // 2 or math.inf
        others = [each for each in self._open if each is not log]
        held = len(log.entries) + count + sum(len(each.entries) for each in others)
        left = len(others)
        for each in others:
            if held <= room and left < self.client.places // 2:
                return
            if each.stream is None or each.stream.is_busy:
                continue
            held -= len(each.entries)
            left -= 1
            await each.drop()
