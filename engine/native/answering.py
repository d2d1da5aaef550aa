"""One answer of the native brain: `Minds` decides, two brains do it on two logs.

Theory of operation
===================

Three parts, each of which knows one thing:

============== ================================ =================================================
part           knows                            does not know
============== ================================ =================================================
`Minds`        who may think or speak now       the model, logs, text, the clock
`Formulation`  thoughts: tokens, closing tag    when to think
`Articulation` speech: tokens, text, codes      when to speak
============== ================================ =================================================

`Answering` couples them in one loop. It asks `Minds.decide` until nothing new begins, lets the
brains begin what was decided, waits for one token of either brain, hands the token to its brain,
and starts again. The brain reports to `Minds` what became of the token. Both brains decode as rows
of the same steps on the device, and their tokens come through one inbox.

The ways of thinking are one machine with different numbers (`Minds.of`):

============ ======================== ======================= ===========================
thinking     thoughts in one segment  speech margin           first step of speech
============ ======================== ======================= ===========================
none         none                     infinite                at once
before       the whole budget         infinite                after all thoughts
think_first  `Pace.thought_tokens`    `Pace.speak_margin_s`   after the first segment
speak_first  `Pace.thought_tokens`    `Pace.speak_margin_s`   at once, without thoughts
============ ======================== ======================= ===========================

An answer is in one of three states: not begun (`pieces` was not iterated), under way, closed.
Await `close` in each of them: it stops both brains and returns the log that the call goes on with.
"""

from collections.abc import AsyncGenerator, Callable

from engine.brain.call_guard import CallGuard
from engine.errors import ContextExceeded
from engine.native.answer_format import AnswerFormat, Decoding
from engine.native.articulation import Articulation
from engine.native.formulation import Formulation
from engine.native.interfaces import Decoded, LogHandle, Runtime
from engine.native.minds import Finish, Minds, Speak, Think
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.work import Prompt
from engine.types import Finished, FinishReason, GenerationOptions, RawPiece

_TAG_TOKENS = 8  # most thoughts that are held back as the possible beginning of a tag


class _Brains:
    """The two brains of an answer that is under way, and the schedule that they follow."""

    def __init__(self, decoding: Decoding, minds: Minds) -> None:
        self.minds = minds
        self.formulation = Formulation(decoding, minds)
        self.articulation = Articulation(decoding, minds)

    async def begin(self, speech_ahead_s: float) -> tuple[bool, FinishReason | None]:
        """Begin what the schedule says. Returns whether anything began, and why the answer is
        over, if it is."""
        actions = self.minds.decide(speech_ahead_s)
        for action in actions:
            match action:
                case Think():
                    await self.formulation.think()
                case Speak():
                    await self.articulation.speak(action)
                case Finish(reason):
                    return True, reason
        return bool(actions), None

    async def take(self, source: Decoded, token: int | None) -> list[RawPiece]:
        """Hand ``token`` to the brain that made it. A generation that was replaced meanwhile
        belongs to neither; its token is dropped."""
        if self.formulation.owns(source):
            return [*await self.formulation.take(token)]
        if self.articulation.owns(source):
            return self.articulation.take(token)
        return []

    async def stop(self) -> None:
        """Stop both; afterwards no step touches their logs."""
        await self.formulation.stop()
        await self.articulation.stop()


class Answering:
    """One answer of one call; used once."""

    def __init__(
        self,
        answer_format: AnswerFormat,
        scheduler: Runtime,
        log: LogHandle,
        prompt: Prompt,
        open_guard: Callable[[], CallGuard] | None = None,
    ) -> None:
        """``log`` is the call's; ``prompt`` ends with the opening of the answer. ``open_guard``
        makes the guard of its calls, if it may come to any."""
        self._format = answer_format
        self._scheduler = scheduler
        self._log = log
        self.prompt = prompt
        self._open_guard = open_guard
        self._brains: _Brains | None = None  # None: not begun

    @property
    def said(self) -> list[int]:
        """The model's own ids of what it said so far."""
        return [] if self._brains is None else self._brains.articulation.said

    async def pieces(self, options: GenerationOptions, room: int) -> AsyncGenerator[RawPiece, None]:
        """Yield thoughts, answer text and codes as they come, then `Finished`.

        ``room``: tokens that the context still holds.

        Raises:
            ContextExceeded: there is no room for an answer.
            BrainError: the device failed.
            ValueError: a bad option.
        """
        sampling = Sampling(options.temperature, options.top_p, options.repetition_penalty)
        minds = self._schedule(options, room)
        inbox = self._scheduler.open_inbox()
        decoding = Decoding(
            self._format,
            self._scheduler,
            self._log,
            self.prompt,
            sampling,
            inbox,
            self._open_guard,
            must_say=not options.calls.may,
        )
        brains = self._brains = _Brains(decoding, minds)
        cached: int | None = None
        while True:
            began, over = await brains.begin(options.speech_ahead_s())
            if over is not None:
                break
            if began:
                continue
            source, token = await inbox.get()
            if cached is None:
                cached = min(await source.cached(), len(self.prompt.ids))
            for piece in await brains.take(source, token):
                yield piece
        for piece in brains.articulation.finish():
            yield piece
        made = len(minds.thoughts) + len(minds.said)
        yield Finished(over, len(self.prompt.ids), cached or 0, made)

    async def close(self) -> LogHandle:
        """Stop both brains; returns the log that the call goes on with, and closes the other.

        If nothing was thought, it is the log that holds the answer, so that the answer need not be
        prefilled for the next turn.
        """
        if self._brains is None:
            return self._log
        await self._brains.stop()
        spoken = self._brains.articulation.log
        if spoken is None or spoken is self._log:
            return self._log
        has_thought = self._brains.formulation.has_thought
        kept, other = (self._log, spoken) if has_thought else (spoken, self._log)
        await self._scheduler.run(other.close)
        return kept

    def _schedule(self, options: GenerationOptions, room: int) -> Minds:
        """The schedule for an answer and its thoughts, which share ``room`` tokens."""
        answer = self._format
        block = max(
            len(answer.no_thoughts), len(answer.think_open) + len(answer.think_close) + _TAG_TOKENS
        )
        speech = min(options.max_tokens, room - block)
        if speech < 1:
            raise ContextExceeded(f"no room for an answer: {room} tokens are left")
        thoughts = max(0, min(options.think_tokens, room - block - speech))
        return Minds.of(
            options.thinking,
            answer.pace,
            thought_limit=thoughts,
            speech_limit=speech,
            think_open=answer.think_open,
            think_close=answer.think_close,
            no_thoughts=answer.no_thoughts,
        )
