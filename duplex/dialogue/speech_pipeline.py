"""How a reply is made: the brain thinks, the segmenter cuts, the voice speaks.

Two tasks joined by a bounded queue. What they make goes into the reply's `Delivery`, which holds
it until the reply is released. Making takes no notice of the release; it waits while the reply is
suspended, and when the voice is far enough ahead.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from duplex.audio.resample import Resampler
from duplex.dialogue.delivery import Delivery
from duplex.dialogue.interfaces import Steps
from duplex.dialogue.reply_parts import ReplyAudio, ReplyText, ReplyThought, UnheardRest
from duplex.dialogue.reply_state import Phase, ReplyState
from engine.types import (
    CallPiece,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    Speech,
    Thought,
)
from engine.worker import Priority
from tts.text.segment import Segmenter
from tts.types import AudioChunk, Utterance, Voice

_CHARACTERS_PER_S = 15.0  # of English speech, to say how long unspoken text will last
_CODES_PER_S = 25  # of a brain that speaks itself
_SHORT_WORDS = 12
_URGENT_S = 0.5  # with less audio ahead than this, the voice goes before other callers'


@dataclass(frozen=True, slots=True)
class _Segment:
    """What the voice is given at a time: a clause or more, or codes with their text. ``lasts_s``
    is how long its speech will last; of text, about."""

    text: str
    codes: tuple[int, ...]
    lasts_s: float


@dataclass(frozen=True, slots=True)
class VoiceSetup:
    """How a reply is spoken. Rates in Hz; ``lead_s`` bounds how far ahead of its playing it is
    synthesised, so that an interrupted reply wastes little and other callers get their share."""

    voice: Voice
    steps: Steps
    output_hz: int
    speed: float
    lead_s: float


class AnswerSource(Protocol):
    """Where the words of a reply come from; see `duplex.dialogue.interfaces.EngineSession`."""

    def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""


class SpeechPipeline:
    """Makes one reply: from the conversation that it answers to parts in its `Delivery`."""

    def __init__(self, speech: VoiceSetup | None, state: ReplyState, delivery: Delivery) -> None:
        """``speech`` None: the reply is written."""
        self.finished: Finished | None = None  # set when the brain is done; the voice may not be
        self._state = state
        self._delivery = delivery
        self._speech = speech
        self._takes_codes = speech is not None and speech.voice.takes_codes
        # The brain may be so far ahead, in sentences or in groups of codes of 160 ms; then it
        # waits for the voice.
        self._segments: asyncio.Queue[_Segment | CallPiece | None] = asyncio.Queue(
            64 if self._takes_codes else 4
        )
        self._text = ""  # all words so far
        self._calls = False  # whether the brain has begun to call a function
        self._voiced = 0  # characters of the text whose audio was made
        self._unspoken_s = 0.0  # about how long that will last which is not synthesised
        self._first_sound = asyncio.Event()  # set when the first audio was made
        self._is_spoken = False  # whether all of the speech was made

    def start(
        self,
        tasks: asyncio.TaskGroup,
        source: AnswerSource,
        history: Sequence[Message],
        options: GenerationOptions,
    ) -> asyncio.Task[Finished]:
        """Begin to make the reply in ``tasks``. The task returned says why it ended and what it
        cost; an `EngineError` of the brain or the voice fails the group."""
        brain = tasks.create_task(self._think(source, history, options))
        if self._speech is not None:
            tasks.create_task(self._speak(self._speech))
        return brain

    @property
    def is_short(self) -> bool:
        """Whether it is a few words in all, as an aside is."""
        return self.finished is not None and len(self._text.split()) <= _SHORT_WORDS

    @property
    def is_at_limit(self) -> bool:
        """Whether the brain would have said more than it was let."""
        return self.finished is not None and self.finished.reason == "length"

    def take_rest(self, from_sample: int) -> UnheardRest | None:
        """What comes after the current item's ``from_sample``, of a reply that is given up. Call
        it once: it empties the delivery. None if there are no words, or a function was to be
        called after them."""
        if self._calls:
            return None
        audio = self._delivery.take_unheard(from_sample)
        is_voiced = self._speech is not None and not self._takes_codes
        text = self._text[self._voiced :] if is_voiced else ""
        if not text.strip() and not any(word.text.strip() for part in audio for word in part.words):
            return None
        is_whole = self.finished is not None and self.finished.reason == "stop"
        if self._takes_codes and not self._is_spoken:  # codes that wait for the voice are lost
            is_whole = False
        return UnheardRest(tuple(audio), text, is_whole)

    async def _think(
        self, source: AnswerSource, history: Sequence[Message], options: GenerationOptions
    ) -> Finished:
        segmenter = Segmenter()
        options = replace(options, speech_ahead_s=self._speech_ahead_s)
        async with aclosing(source.respond(history, options)) as pieces:
            async for piece in pieces:
                await self._state.leaves(Phase.SUSPENDED)
                if isinstance(piece, Finished):
                    self.finished = piece
                    break
                self._delivery.marks.reach("first_token")
                await self._take(piece, segmenter)
        assert self.finished is not None, "an engine ends every reply with Finished"
        if self._speech is None:
            await self._delivery.enqueue(None)
        else:
            await self._put_clauses(segmenter.finish())
            await self._segments.put(None)
        return self.finished

    async def _take(self, piece: Thought | Speech | CallPiece, segmenter: Segmenter) -> None:
        """Pass on one piece of the brain's, to the voice or past it."""
        if isinstance(piece, Thought):
            await self._delivery.enqueue(ReplyThought(piece.text))
        elif isinstance(piece, Speech):
            self._text += piece.text
            if self._takes_codes:
                await self._put(piece.text, piece.codes)
            elif self._speech is not None:
                await self._put_clauses(segmenter.feed(piece.text))
            elif piece.text:  # codes may come without any
                await self._delivery.enqueue(ReplyText(piece.text))
        else:
            self._calls = True
            await self._put_clauses(segmenter.finish())
            if self._speech is None:
                await self._delivery.enqueue(piece)
            else:
                await self._segments.put(piece)

    async def _put_clauses(self, clauses: Sequence[str]) -> None:
        for clause in clauses:
            await self._put(clause)
            # The caller waits for the first audio and for nothing else: leave it the cores.
            await self._first_sound.wait()

    async def _put(self, text: str, codes: tuple[int, ...] = ()) -> None:
        self._delivery.marks.reach("first_clause")
        lasts_s = len(codes) / _CODES_PER_S if codes else len(text) / _CHARACTERS_PER_S
        self._unspoken_s += lasts_s
        await self._segments.put(_Segment(text, codes, lasts_s))

    async def _speak(self, speech: VoiceSetup) -> None:
        resampler = Resampler(speech.voice.sample_rate, speech.output_hz)
        utterance = speech.voice.open(speech.speed)
        while (segment := await self._segments.get()) is not None:
            if not isinstance(segment, _Segment):
                await self._end_speech(utterance, resampler, speech)
                await self._delivery.enqueue(segment)
                continue
            chunks = utterance.feed(segment.text, segment.codes)
            await self._sound(chunks, resampler, speech, segment.lasts_s)
            self._first_sound.set()  # also after a segment that has no sound
        await self._end_speech(utterance, resampler, speech)
        await self._delivery.enqueue(None)

    async def _end_speech(
        self, utterance: Utterance, resampler: Resampler, speech: VoiceSetup
    ) -> None:
        """All words are known: what comes next is a call, or nothing. Done once."""
        if self._is_spoken:
            return
        self._is_spoken = True
        await self._sound(utterance.finish(), resampler, speech)
        await self._delivery.enqueue(ReplyAudio(resampler.flush(), ()))

    async def _sound(
        self,
        chunks: Iterator[AudioChunk],
        resampler: Resampler,
        speech: VoiceSetup,
        expected_s: float = 0.0,
    ) -> None:
        """Make ``chunks``, which were expected to last ``expected_s``."""
        delivery, rate_hz = self._delivery, speech.voice.sample_rate
        ratio = speech.output_hz / rate_hz
        async with aclosing(speech.steps.stream(chunks, self._urgency)) as stream:
            async for chunk in stream:
                if not len(chunk.samples) and not chunk.words:
                    continue  # it waits
                delivery.marks.reach("first_audio")
                self._first_sound.set()
                words = []
                for word in chunk.words:
                    self._voiced += len(word.text)
                    end = delivery.made_before + round(word.end_sample * ratio)
                    words.append(replace(word, end_sample=end))
                made_s = min(expected_s, len(chunk.samples) / rate_hz)
                expected_s -= made_s
                self._unspoken_s -= made_s
                await delivery.enqueue(ReplyAudio(resampler.feed(chunk.samples), tuple(words)))
                await self._keep_pace(speech.lead_s)
        self._unspoken_s -= expected_s

    async def _keep_pace(self, lead_s: float) -> None:
        """Wait until less than ``lead_s`` of audio is made and not yet heard."""
        while True:
            await self._state.leaves(Phase.SUSPENDED)
            excess_s = self._delivery.made_ahead_s() - lead_s
            if excess_s <= 0:
                return
            if self._state.phase is Phase.HELD:
                await self._state.leaves(Phase.HELD)
            else:
                await asyncio.sleep(excess_s)

    def _urgency(self) -> Priority:
        is_urgent = self._delivery.made_ahead_s() < _URGENT_S
        return Priority.REPLY if is_urgent else Priority.FLOW

    def _speech_ahead_s(self) -> float:
        """How long the speech lasts that is not yet heard, with what is yet to be synthesised."""
        return self._delivery.made_ahead_s() + self._unspoken_s
