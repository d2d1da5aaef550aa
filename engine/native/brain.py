"""The language model of the native engine: one log for each call, and answers from it.

`engine.native.answering` says how an answer is made.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from engine.brain.call_guard import CallGuard
from engine.brain.chat_format import Renderer
from engine.brain.context_window import ContextUse
from engine.brain.interface import BrainError
from engine.brain.prefill_task import PrefillTask
from engine.brain.prompt_writer import PromptWriter
from engine.native.answer_format import AnswerFormat
from engine.native.answering import Answering
from engine.native.interfaces import Runtime
from engine.native.latents import LatentSound
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Prompt
from engine.types import GenerationOptions, Message, RawPiece, Sound
from engine.uncancelled import uncancelled


class AnsweringModel(Protocol):
    """A loaded model and the format of its answers, as its sessions need it. ``sound_marks``: the
    ids before and after a sound, for a model that hears."""

    @property
    def scheduler(self) -> Runtime:
        """What it runs on."""

    renderer: Renderer
    answer_format: AnswerFormat
    context_tokens: int
    sound_marks: tuple[list[int], list[int]] | None


class NativeBrain:
    """A loaded model with its device's thread, shared by all calls."""

    def __init__(
        self,
        scheduler: Scheduler,
        renderer: Renderer,
        answer_format: AnswerFormat,
        *,
        context_tokens: int,
        sound_marks: tuple[list[int], list[int]] | None = None,
    ) -> None:
        """``sound_marks``: the ids before and after a sound, for a model that hears."""
        self.scheduler = scheduler
        self.renderer = renderer
        self.answer_format = answer_format
        self.context_tokens = context_tokens
        self.sound_marks = sound_marks

    def open(self) -> "NativeBrainSession":
        """Start a session with an empty log."""
        return NativeBrainSession(self)

    @property
    def is_alive(self) -> bool:
        """See `engine.types.Mortal`: False once the device is lost."""
        return self.scheduler.is_alive

    def close(self) -> None:
        """Stop the device's thread."""
        self.scheduler.close()


class NativeBrainSession:
    """The session of one call: a `BrainSession` that also takes sound.

    Requests do not overlap: a new one cancels a prefill in flight. While an answer is being
    generated, no other request is allowed.
    """

    def __init__(self, brain: AnsweringModel) -> None:
        self._brain = brain
        self._scheduler = brain.scheduler
        self._prompts = PromptWriter(brain.renderer, brain.context_tokens, brain.sound_marks)
        self._log = brain.scheduler.open_log()
        self._held: list[int] = []  # the last prompt and answer in the model's own ids
        self._prefill = PrefillTask()
        self._generating = False
        self._closed = False

    async def prefill(
        self, messages: Sequence[Message], partial: str | Sound | None = None
    ) -> None:
        """See `BrainSession`; ``partial`` may also be the sound of the open turn so far.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model failed; the log holds a prefix of the prompt.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        self._check_free()
        await self._prefill.stop()
        if self._generating or self._closed:
            return  # superseded while it waited
        prompt = self._prompt(messages, partial)
        await self._prefill.run(self._scheduler.bring_up_to(self._log, prompt))

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """See `BrainSession`. Thoughts come as `Thought`, codes as `Speech`, other text as `str`.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model failed, or it makes its own speech and there are tools.
            ValueError: a bad option.
            RuntimeError: an answer is being generated, or the session is closed.
        """
        await self._prefill.stop()
        self._check_free()
        self._generating = True
        try:
            if self._brain.answer_format.speech is not None and any(m.tools for m in messages):
                raise BrainError("A model that speaks itself cannot call functions.")
            prompt = self._prompt(messages)
            ids = [*prompt.ids, *self._brain.renderer.opening["assistant"]]
            room = self._brain.context_tokens - len(ids)
            forced = self._brain.renderer.call_opening(messages, options.calls)
            answering = Answering(
                self._brain.answer_format.beginning(forced),
                self._scheduler,
                self._log,
                Prompt(ids, prompt.sounds),
                await self._guarded(messages, options, forced, room),
            )
            try:
                if forced:
                    yield forced
                async with aclosing(answering.pieces(options, room)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                await uncancelled(self._put_down(answering))
        finally:
            self._generating = False

    async def _guarded(
        self, messages: Sequence[Message], options: GenerationOptions, forced: str, room: int
    ) -> Callable[[], CallGuard] | None:
        """What opens the guard of an answer that begins with ``forced`` and has ``room`` tokens in
        the context; None for a conversation in which there is no call to be begun or imitated."""
        renderer = self._brain.renderer
        if not any(message.tools or message.calls for message in messages):
            return None
        rule = options.calls
        parsers = await renderer.call_parsers(messages, rule)
        max_tokens = min(options.max_tokens, room)

        def open_guard() -> CallGuard:
            guard = renderer.call_guard(messages, rule, parsers, max_tokens)
            guard.begin(forced)
            return guard

        return open_guard

    async def _put_down(self, answering: Answering) -> None:
        self._held = [*answering.prompt.ids, *answering.said]
        self._log = await answering.close()

    def measure(self, beginning: Sequence[Message]) -> ContextUse:
        """See `MeasuresContext`."""
        return self._prompts.measure(beginning)

    async def close(self) -> None:
        """Free the log, after the step in flight if there is one."""
        if self._closed:
            return
        self._closed = True
        await self._prefill.stop()
        await self._scheduler.run(self._log.close)

    def _prompt(self, messages: Sequence[Message], partial: str | Sound | None = None) -> Prompt:
        ids = self._prompts.write(messages, partial, self._held)
        sounds = [*(message.sound for message in messages), partial]
        return Prompt(ids, [sound for sound in sounds if isinstance(sound, LatentSound)])

    def _check_free(self) -> None:
        if self._closed:
            raise RuntimeError("the session is closed")
        if self._generating:
            raise RuntimeError("an answer is being generated; close it first")
