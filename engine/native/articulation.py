"""The articulation brain at work: the speech of one answer, step by step.

It speaks from a fork of the call's log, because each step reads the thoughts up to a segment's
end, while the formulation brain thinks on in the log itself. Without thoughts it speaks in the
call's own log. What it says is read as text, or as text and codes (ta4).
"""

from collections.abc import Callable

from engine.brain.call_guard import CallGuard
from engine.native.answer_format import Decoding
from engine.native.interfaces import Decoded, LogHandle
from engine.native.minds import Minds, Speak
from engine.native.model.ta4 import Codes, OtherId, SpokenId, Ta4Parser
from engine.types import RawPiece, Speech


class Articulation:
    """Speaks one answer. Each step is one generation."""

    def __init__(self, decoding: Decoding, minds: Minds) -> None:
        self._decoding = decoding
        self._minds = minds
        self._generation: Decoded | None = None  # of the newest step; None if its log is gone
        self.said: list[int] = []  # the model's own ids of what it said
        self._stop_ids = decoding.format.renderer.stop_ids
        speech = decoding.format.speech
        if speech is not None:
            self._stop_ids |= {speech.end, speech.audio_pad}
        self._text = decoding.format.renderer.stream()
        self._parser = Ta4Parser(speech, inside=True) if speech else None
        self._words = ""  # text that belongs to the next codes

    @property
    def log(self) -> LogHandle:
        """The log of the newest step; None if there is none."""
        return None if self._generation is None else self._generation.log

    def owns(self, generation: Decoded) -> bool:
        """Whether a token of ``generation`` is for `take`."""
        return generation is self._generation

    async def speak(self, step: Speak) -> None:
        """Begin ``step``. The step before it is over."""
        log = await self._source(step)
        thoughts = self._minds.formulation[: step.shared]
        # Small models take the end of their thoughts for the end of their turn: after all thoughts
        # something has to be said.
        must_speak = self._decoding.must_say or (bool(step.shared) and self._minds.knows_all)
        self._generation = self._decoding.generation(
            log,
            [*thoughts, *step.prefill],
            stop_ids=self._stop_ids,
            limit=step.limit,
            before=tuple(self.said),
            forks=log is self._decoding.log and not self._minds.never_thinks,
            must_say=self._lacks_word() if must_speak else None,
            guard=self._guard(),
        )
        self._generation.start()

    def take(self, token: int | None) -> list[RawPiece]:
        """Take the next token of the generation, or None at its end; returns what it completes."""
        if token is None:
            return []
        if token in self._stop_ids:
            self._minds.speech_ended()
            return []
        self._minds.spoke(token)
        self.said.append(token)
        if self._parser is None:
            text = self._text.feed(token)
            return [text] if text else []
        pieces: list[RawPiece] = []
        for event in self._parser.feed(token):
            match event:
                case Codes(codes):
                    pieces.append(Speech(self._words, codes))
                    self._words = ""
                case SpokenId(word) | OtherId(word):
                    self._words += self._text.feed(word)
        return pieces

    def finish(self) -> list[RawPiece]:
        """The answer is over: returns the text and codes that were held back."""
        if self._parser is None:
            text = self._text.finish()
            return [text] if text else []
        events = self._parser.finish()
        codes = tuple(code for e in events if isinstance(e, Codes) for code in e.codes)
        words = self._words + self._text.finish()
        return [Speech(words, codes)] if codes or words else []

    async def stop(self) -> None:
        """Stop the newest step, if there is one; then no step touches its log."""
        if self._generation is not None:
            await self._generation.stop()

    async def _source(self, step: Speak) -> LogHandle:
        """The log to speak from: the last step's if that fits, else the call's."""
        if self._generation is None or self._minds.never_thinks:
            return self._decoding.log
        await self._generation.stop()
        spoken = self._generation.log
        if step.continues:
            return spoken
        self._generation = None  # its log must not be used after this
        await self._decoding.scheduler.run(spoken.close)
        return self._decoding.log

    def _guard(self) -> CallGuard | None:
        """The guard of what is said next; one that was asked on the device's thread is ahead."""
        if self._decoding.open_guard is None:
            return None
        guard = self._decoding.open_guard()
        for token in self.said:
            guard.take(token)
        return guard

    def _lacks_word(self) -> Callable[[int], bool] | None:
        """Whether an id that is said next completes the first word, asked in order; None if a word
        was said already.

        The function keeps its own state: it is asked on the device's thread, which runs ahead of
        `take`.
        """
        text = self._decoding.format.renderer.stream()
        ids = self._decoding.format.speech
        parser = Ta4Parser(ids, inside=True) if ids else None

        def has_word(token: int) -> bool:
            if parser is None:
                return bool(text.feed(token).strip())
            words = [event.token for event in parser.feed(token) if not isinstance(event, Codes)]
            return any(text.feed(word).strip() for word in words)

        return None if any(map(has_word, self.said)) else has_word
