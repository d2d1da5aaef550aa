"""`BrainSession` over a token log: append, compare, cut back."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence

import numpy as np

from engine.brain.chat_format import Renderer
from engine.brain.context import kept_messages
from engine.brain.log import TokenLog, common_prefix
from engine.brain.sampler import sample
from engine.types import Finished, GenerationOptions, Message
from engine.worker import Priority, Worker

# One chunk is the longest another call's decode step has to wait for this one's prefill.
AHEAD_CHUNK_TOKENS = 16
REPLY_CHUNK_TOKENS = 64
# After so many tokens the first clause is out and its speech covers the rest.
URGENT_TOKENS = 16


class LocalBrainSession:
    """One call on a model in this process. Its calls do not overlap: `generate` cancels a
    prefill in flight, and nothing may be asked while an answer is being generated.
    """

    def __init__(
        self,
        log: TokenLog,
        renderer: Renderer,
        worker: Worker,
        *,
        context_tokens: int,
        seed: int = 0,
    ) -> None:
        self._log = log
        self._renderer = renderer
        self._worker = worker
        self._context_tokens = context_tokens
        self._random = np.random.default_rng(seed)
        self._ahead: asyncio.Task[None] | None = None  # set while a prefill is in flight
        self._generating = False
        self._closed = False

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        """See `BrainSession`. Returns early if a newer call supersedes it.

        Raises:
            ValueError: the last turn alone is too long for the context.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        await self._stop_prefill()
        self._check_free()
        ids = self._prompt(messages, partial)
        task = self._ahead = asyncio.create_task(self._run_ahead(ids))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await self._stop_prefill()
            raise
        if not task.cancelled():
            task.result()

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        """See `BrainSession`.

        Raises:
            ValueError: the last turn alone is too long for the context, or a bad option.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        await self._stop_prefill()
        self._check_free()
        self._generating = True
        try:
            ids = [*self._prompt(messages), *self._renderer.opening["assistant"]]
            cached = common_prefix(self._log.tokens, ids)
            await self._bring_up_to(ids, REPLY_CHUNK_TOKENS, Priority.REPLY)
            async for piece in self._decode(len(ids), cached, options):
                yield piece
        finally:
            self._generating = False

    async def close(self) -> None:
        """Free the cache, after the step in flight if there is one."""
        await self._stop_prefill()
        if not self._closed:
            self._closed = True
            await self._worker.run(self._log.close)

    def _check_free(self) -> None:
        if self._closed:
            raise RuntimeError("the session is closed")
        if self._generating:
            raise RuntimeError("an answer is being generated; close it first")

    async def _stop_prefill(self) -> None:
        """Cancel the prefill in flight; at most one chunk of it is still waited for."""
        task, self._ahead = self._ahead, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run_ahead(self, ids: list[int]) -> None:
        await self._bring_up_to(ids, AHEAD_CHUNK_TOKENS, Priority.BACKGROUND)

    async def _bring_up_to(self, ids: list[int], chunk: int, priority: Priority) -> None:
        """Make the log equal to ``ids``: cut what differs, append the rest chunk by chunk."""
        log = self._log
        same = common_prefix(log.tokens, ids)
        if same < len(log.tokens):
            await self._worker.run(lambda: log.truncate(same), priority)
        for start in range(same, len(ids), chunk):
            part = ids[start : start + chunk]
            await self._worker.run(lambda part=part: log.append(part), priority)  # type: ignore[misc]

    async def _decode(
        self, prompt: int, cached: int, options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        limit = min(options.max_tokens, self._context_tokens - prompt)
        text = self._renderer.stream()
        output = 0
        stopped = False

        def priority() -> Priority:
            return Priority.REPLY if output < URGENT_TOKENS else Priority.FLOW

        steps = self._steps(options)
        while output < limit:
            token = await self._worker.run(lambda: next(steps), priority())
            if token in self._renderer.stop_ids:
                stopped = True
                break
            output += 1
            if piece := text.push(token):
                yield piece
        if rest := text.finish():
            yield rest
        yield Finished("stop" if stopped else "length", prompt, cached, output)

    def _steps(self, options: GenerationOptions) -> Iterator[int]:
        """Endless tokens; each is appended when the next is asked for."""
        seen: set[int] = set()
        while True:
            token = sample(self._log.logits(), options, seen, self._random)
            yield token
            seen.add(token)
            self._log.append([token])

    def _prompt(self, messages: Sequence[Message], partial: str | None = None) -> list[int]:
        """Ids of the part of the conversation that fits."""
        render = self._renderer
        rendered = [render.message(message) for message in messages]
        shown = list(messages)
        if partial is not None:
            shown.append(Message("user", partial))
            rendered.append(render.open_message("user", partial))
        reserve = min(256, self._context_tokens // 4)  # for the answer
        lengths = [len(ids) for ids in rendered]
        system, first = kept_messages(shown, lengths, self._context_tokens - reserve)
        ids = list(render.start)
        for index in (*range(system), *range(first, len(shown))):
            if shown[index].role == "assistant":
                ids += self._answer(shown[index].text, ids)
            else:
                ids += rendered[index]
        return ids

    def _answer(self, text: str, before: list[int]) -> list[int]:
        """Ids of a finished answer, in the model's own words if the log still holds them."""
        opening = self._renderer.opening["assistant"]
        start = len(before) + len(opening)
        held = self._log.tokens
        follows = len(held) > start and held[:start] == before + opening
        body = self._renderer.answer(text, held[start:] if follows else ())
        return opening + body + self._renderer.closing["assistant"]
