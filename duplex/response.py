"""One cancellable reply: from the conversation it answers to the last sample delivered.

Three tasks in a row, joined by bounded queues: the brain decodes, the voice speaks what the
segmenter cuts, and delivery waits for the reply to be released. A reply that was begun on the
speculation that the turn is over is simply one that is not released yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from duplex.interfaces import EngineSession, Steps
from duplex.metrics import Clock, TurnMarks
from duplex.pcm import Resampler
from duplex.playback import PlaybackLedger
from engine.types import (
    CallArguments,
    CallEnded,
    CallPiece,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Thought,
)
from engine.worker import Priority
from tts.segment import Segmenter
from tts.types import AudioChunk, SpokenWord, Utterance, Voice


@dataclass(frozen=True, slots=True)
class ReplyText:
    """Answer text of a reply without a voice."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyThought:
    """Reasoning; for the channel of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """Audio and the words that end in it, offsets from the reply's first sample."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]


ReplyEvent = ReplyText | ReplyThought | ReplyAudio | CallPiece
Sink = Callable[[ReplyEvent], Awaitable[None]]
_CHARACTERS_PER_S = 15.0  # of English speech, to say how long unspoken text will last
_CODES_PER_S = 25  # of a brain that speaks itself


@dataclass(frozen=True, slots=True)
class _Segment:
    """What the voice is given at a time: a clause or more, or codes and the text beside them."""

    text: str
    codes: tuple[int, ...] = ()

    @property
    def lasts_s(self) -> float:
        """How long its speech will last; of text, about."""
        if self.codes:
            return len(self.codes) / _CODES_PER_S
        return len(self.text) / _CHARACTERS_PER_S


@dataclass(frozen=True, slots=True)
class VoiceSetup:
    """How a reply is spoken. Rates in Hz; ``lead_s`` bounds how far ahead of its playing it is
    synthesised, so that an interrupted answer wastes little and other callers get their share."""

    voice: Voice
    steps: Steps
    output_hz: int
    speed: float
    lead_s: float


class Reply:
    """One reply. Owned by the session that starts, releases or cancels its `run`."""

    def __init__(
        self,
        response_id: str,
        speech: VoiceSetup | None,
        marks: TurnMarks,
        sink: Sink,
        clock: Clock,
    ) -> None:
        self.response_id = response_id
        self.marks = marks
        self.released = asyncio.Event()  # set when the turn is confirmed; output goes out then
        self.finished: Finished | None = None  # set when the brain is done; the voice may not be
        self.ledger = PlaybackLedger(speech.output_hz if speech else 24_000)
        self._speech = speech
        self._sink = sink
        self._clock = clock
        takes_codes = speech is not None and speech.voice.takes_codes
        # The brain may be so far ahead, in sentences or in groups of codes of 160 ms; then it
        # waits for the voice.
        self._segments: asyncio.Queue[_Segment | CallPiece | None] = asyncio.Queue(
            64 if takes_codes else 4
        )
        # 256: about 6 s of thoughts at 40 tokens/s before the reply is released
        self._outgoing: asyncio.Queue[ReplyEvent | None] = asyncio.Queue(256)
        self._queued_samples = 0  # synthesised and not yet delivered
        self._unspoken_s = 0.0  # about how long that will last which is not synthesised
        self._sounds = asyncio.Event()  # set when the first audio was made
        self._spoken = False  # whether all of the speech was made

    async def run(
        self, engine: EngineSession, history: Sequence[Message], options: GenerationOptions
    ) -> Finished:
        """Make the whole reply and deliver it; returns why it ended and what it cost."""
        async with asyncio.TaskGroup() as tasks:
            brain = tasks.create_task(self._think(engine, history, options))
            if self._speech is not None:
                tasks.create_task(self._speak(self._speech))
            tasks.create_task(self._deliver())
        return brain.result()

    async def _think(
        self, engine: EngineSession, history: Sequence[Message], options: GenerationOptions
    ) -> Finished:
        segmenter = Segmenter()
        finished: Finished | None = None
        options = replace(options, speech_ahead_s=self._speech_ahead_s)
        async with aclosing(engine.respond(history, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    self.finished = finished = piece
                    break
                self.marks.reach("first_token")
                if isinstance(piece, Thought):
                    await self._outgoing.put(ReplyThought(piece.text))
                elif isinstance(piece, CallStarted | CallArguments | CallEnded):
                    await self._put_clauses(segmenter.finish())
                    await (self._outgoing if self._speech is None else self._segments).put(piece)
                elif self._speech is None:
                    if piece.text:  # codes may come without any
                        await self._outgoing.put(ReplyText(piece.text))
                elif self._speech.voice.takes_codes:
                    await self._put(_Segment(piece.text, piece.codes))
                else:
                    await self._put_clauses(segmenter.feed(piece.text))
        if self._speech is None:
            await self._outgoing.put(None)
        else:
            await self._put_clauses(segmenter.finish())
            await self._segments.put(None)
        assert finished is not None, "an engine ends every answer with Finished"
        return finished

    async def _put_clauses(self, clauses: Sequence[str]) -> None:
        for clause in clauses:
            await self._put(_Segment(clause))
            # The caller waits for the first audio and for nothing else: leave it the cores.
            await self._sounds.wait()

    async def _put(self, segment: _Segment) -> None:
        self.marks.reach("first_clause")
        self._unspoken_s += segment.lasts_s
        await self._segments.put(segment)

    async def _speak(self, speech: VoiceSetup) -> None:
        resampler = Resampler(speech.voice.sample_rate, speech.output_hz)
        utterance = speech.voice.open(speech.speed)
        while (segment := await self._segments.get()) is not None:
            if not isinstance(segment, _Segment):
                await self._end_speech(utterance, resampler, speech)
                await self._outgoing.put(segment)
                continue
            chunks = utterance.push(segment.text, segment.codes)
            await self._sound(chunks, resampler, speech, segment.lasts_s)
            self._sounds.set()  # also after a segment that has no sound
        await self._end_speech(utterance, resampler, speech)
        await self._outgoing.put(None)

    async def _end_speech(
        self, utterance: Utterance, resampler: Resampler, speech: VoiceSetup
    ) -> None:
        """All words are known: what comes next is a call, or nothing. Done once."""
        if self._spoken:
            return
        self._spoken = True
        await self._sound(utterance.finish(), resampler, speech)
        await self._put_audio(ReplyAudio(resampler.flush(), ()))

    async def _sound(
        self,
        chunks: Iterator[AudioChunk],
        resampler: Resampler,
        speech: VoiceSetup,
        expected_s: float = 0.0,
    ) -> None:
        """Make ``chunks``, which were expected to last ``expected_s``."""
        rate_hz = speech.voice.sample_rate
        ratio = speech.output_hz / rate_hz
        async with aclosing(speech.steps.stream(chunks, self._urgency)) as stream:
            async for chunk in stream:
                self.marks.reach("first_audio")
                self._sounds.set()
                words = tuple(
                    SpokenWord(word.text, round(word.end_sample * ratio)) for word in chunk.words
                )
                made_s = min(expected_s, len(chunk.samples) / rate_hz)
                expected_s -= made_s
                self._unspoken_s -= made_s
                await self._put_audio(ReplyAudio(resampler.push(chunk.samples), words))
                await self._keep_pace(speech)
        self._unspoken_s -= expected_s

    def _urgency(self) -> Priority:
        return Priority.REPLY if self._made_ahead_s() < 0.5 else Priority.FLOW

    def _made_ahead_s(self) -> float:
        """How long the audio lasts that was made and not yet heard."""
        return self.ledger.ahead_s(self._clock()) + self._queued_samples / self.ledger.rate_hz

    def _speech_ahead_s(self) -> float:
        """The same, with what is yet to be synthesised."""
        return self._made_ahead_s() + self._unspoken_s

    async def _put_audio(self, audio: ReplyAudio) -> None:
        self._queued_samples += len(audio.samples)
        await self._outgoing.put(audio)

    async def _keep_pace(self, speech: VoiceSetup) -> None:
        """Wait until less than ``lead_s`` of audio is made and not yet heard."""
        while True:
            excess_s = self._made_ahead_s() - speech.lead_s
            if excess_s <= 0:
                return
            if self.released.is_set():
                await asyncio.sleep(excess_s)
            else:
                await self.released.wait()

    async def _deliver(self) -> None:
        await self.released.wait()
        while (event := await self._outgoing.get()) is not None:
            if isinstance(event, ReplyAudio):
                self._queued_samples -= len(event.samples)
                self.ledger.push(len(event.samples), event.words, self._clock())
                self.marks.reach("released")
            elif not isinstance(event, ReplyThought):
                self.marks.reach("released")
            await self._sink(event)
