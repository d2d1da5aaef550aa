"""A brain session over a token log: compare the log with the prompt, cut it back, append."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from engine.brain.call_guard import CallGuard, unpacked
from engine.brain.chat_format import Renderer
from engine.brain.context_window import ContextUse
from engine.brain.interface import BrainError
from engine.brain.prefill_task import PrefillTask
from engine.brain.prompt_writer import PromptWriter
from engine.brain.sampling import sample
from engine.brain.token_log import TokenLog, common_prefix
from engine.text.thought_filter import THINK_CLOSE, THINK_OPEN
from engine.types import CallRule, Finished, GenerationOptions, Message
from engine.worker import Priority, Worker

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A chunk is the longest that another call's decode step waits for this call's prefill
# (docs/decisions/0023-one-step-for-all-calls.md).
AHEAD_CHUNK_TOKENS = 16
REPLY_CHUNK_TOKENS = 64
# By then the first clause is out, and its speech covers the rest.
URGENT_TOKENS = 16


class LocalBrainSession:
    """The session of one call on a model in this process.

    Requests do not overlap: a new one cancels a prefill in flight and waits for its step to end.
    While an answer is being generated, no other request is allowed.

    The log is compared, cut and written only in steps on the worker's thread. A step that runs on
    after its caller was cancelled is therefore over before the next one reads the log.
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
        self._prompts = PromptWriter(renderer, context_tokens)
        self._random = np.random.default_rng(seed)
        self._prefill = PrefillTask()
        self._generating = False
        self._closed = False

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        """See `BrainSession`. Returns early if a newer call supersedes it.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model failed; the log is intact, and the next request goes on from it.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        self._check_free()
        await self._prefill.stop()
        if self._generating or self._closed:
            return  # superseded while it waited
        ids = self._prompts.write(messages, partial, self._log.tokens)
        await self._prefill.run(self._ahead(messages, ids))

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        """See `BrainSession`.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model failed; the log is intact, and the next request goes on from it.
            ValueError: a bad option.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        await self._prefill.stop()
        self._check_free()
        self._generating = True
        try:
            ids = self._prompts.write(messages, held=self._log.tokens)
            ids += self._renderer.opening["assistant"]
            prompt = len(ids)
            if options.think_tokens:
                ids += self._renderer.plain(f"{THINK_OPEN}\n")
            cached = await self._bring_up_to(ids, REPLY_CHUNK_TOKENS, Priority.REPLY)
            if options.think_tokens:
                async for piece in self._think(ids, options):
                    yield piece
            parsers = await self._renderer.call_parsers(messages, options.calls)
            room = min(options.max_tokens, self._context_tokens - len(ids))
            guard = self._renderer.call_guard(messages, options.calls, parsers, room)
            forced = self._renderer.call_opening(messages, options.calls)
            if forced:
                yield forced
                guard.begin(forced)
                ids += self._renderer.plain(forced)
            if len(ids) > prompt:
                await self._bring_up_to(ids, REPLY_CHUNK_TOKENS, Priority.REPLY)
            async for part in self._decode(prompt, len(ids), cached, options, guard):
                yield part
        finally:
            self._generating = False

    def measure(self, beginning: Sequence[Message]) -> ContextUse:
        """See `MeasuresContext`."""
        return self._prompts.measure(beginning)

    async def close(self) -> None:
        """Free the cache, after the step in flight if there is one. An answer that is still
        being generated ends with RuntimeError."""
        if self._closed:
            return
        self._closed = True
        await self._prefill.stop()
        await self._worker.run(self._log.close)

    async def _ahead(self, messages: Sequence[Message], ids: list[int]) -> None:
        await self._renderer.call_parsers(messages, CallRule())
        await self._bring_up_to(ids, AHEAD_CHUNK_TOKENS, Priority.BACKGROUND)

    def _check_free(self) -> None:
        if self._closed:
            raise RuntimeError("the session is closed")
        if self._generating:
            raise RuntimeError("an answer is being generated; close it first")

    async def _bring_up_to(self, ids: list[int], chunk: int, priority: Priority) -> int:
        """Make the log equal to ``ids``: cut what differs, append the rest chunk by chunk.
        Returns how many of them it held before."""
        log = self._log

        def step() -> int:
            same = common_prefix(log.tokens, ids)
            with _model_failures():
                if same < len(log.tokens):
                    log.truncate(same)
                if part := ids[same : same + chunk]:
                    log.append(part)
            return same

        held = await self._run(step, priority)
        for _ in range(held + chunk, len(ids), chunk):
            await self._run(step, priority)
        return held

    async def _run(self, step: Callable[[], T], priority: Priority) -> T:
        def unless_closed() -> T:
            if self._closed:
                raise RuntimeError("the session is closed")
            return step()

        return await self._worker.run(unless_closed, priority)

    async def _think(self, ids: list[int], options: GenerationOptions) -> AsyncGenerator[str, None]:
        """Yield the reasoning with its tags; append to ``ids`` the tokens that the log has to hold.

        Thoughts are cut at their budget, and where the model ends its turn in mid-thought: the
        caller waits in silence meanwhile.
        """
        yield f"{THINK_OPEN}\n"
        room = self._context_tokens - len(ids) - options.max_tokens
        text, said = self._renderer.stream(), ""
        steps = self._steps(options)
        for _ in range(min(options.think_tokens, room)):
            token = await self._run(lambda: next(steps), Priority.REPLY)
            if token in self._renderer.stop_ids:
                break
            ids.append(token)
            said += (piece := text.feed(token))
            yield piece
            if THINK_CLOSE in said:
                return
        ids += self._renderer.plain(THINK_CLOSE)
        yield text.finish() + THINK_CLOSE

    async def _decode(
        self, prompt: int, held: int, cached: int, options: GenerationOptions, guard: CallGuard
    ) -> AsyncGenerator[str | Finished, None]:
        """Yield the answer to the ``prompt`` tokens.

        The log holds ``held`` tokens: the prompt, the thoughts, and the beginning of the answer,
        which ``guard`` knows. The latter two count as output, but not against the answer's limit.
        """
        limit = held - prompt + min(options.max_tokens, self._context_tokens - held)
        text = self._renderer.stream()
        output = held - prompt
        stopped = False

        def priority() -> Priority:
            return Priority.REPLY if output < URGENT_TOKENS else Priority.FLOW

        # Small models take the end of their thoughts for the end of their turn: after thoughts
        # something has to be said.
        is_said = held == prompt and options.calls.may
        steps = self._steps(options, lambda: is_said or guard.in_call, guard)
        while output < limit and not stopped:
            token = await self._run(lambda: next(steps), priority())
            if token in self._renderer.stop_ids:
                stopped = True
                break
            output += 1
            if piece := text.feed(token):
                is_said = is_said or bool(piece.strip())
                yield piece
            stopped = guard.is_over
        if rest := text.finish():
            yield rest
        yield Finished("stop" if stopped else "length", prompt, cached, output)

    def _steps(
        self,
        options: GenerationOptions,
        may_stop: Callable[[], bool] = lambda: True,
        guard: CallGuard | None = None,
    ) -> Iterator[int]:
        """Yield tokens without end; they are appended to the log when the next one is asked for
        that does not follow from them.

        No stop token comes before ``may_stop`` is true. Repetition has a penalty, but not in a
        call. ``guard`` has been told of each token when it is yielded.
        """
        seen: set[int] = set()
        while True:
            tokens = guard.forced() if guard is not None else ()
            if not tokens:
                tokens = [self._choose(options, seen, guard, may_stop=may_stop())]
            for token in tokens:
                if guard is not None:
                    guard.take(token)
                yield token
            seen.update(tokens)
            with _model_failures():
                self._log.append(tokens)

    def _choose(
        self,
        options: GenerationOptions,
        seen: set[int],
        guard: CallGuard | None,
        *,
        may_stop: bool,
    ) -> int:
        """The next token, chosen from the log's scores."""
        with _model_failures():
            scores = self._log.logits()
        if not may_stop:
            scores = scores.copy()
            scores[list(self._renderer.stop_ids)] = -np.inf
        if guard is None:
            return sample(scores, options, seen, self._random)
        if (bits := guard.mask()) is not None:
            scores = np.where(unpacked(bits, len(scores)), scores, -np.inf)
        penalised = () if guard.in_call else seen
        while guard.refuses(token := sample(scores, options, penalised, self._random)):
            scores = scores.copy()
            scores[token] = -np.inf
        return token


@contextlib.contextmanager
def _model_failures() -> Iterator[None]:
    """Raises:
    BrainError: whatever the model raised.
    """
    try:
        yield
    except Exception as error:  # the runtimes' own, which have no base in common
        logger.exception("the brain's model failed")
        raise BrainError("the brain's model failed") from error
