"""One cancellable reply: from the conversation it answers to the last sample delivered.

Three tasks in a row, joined by bounded queues: the brain decodes, the voice speaks what the
segmenter cuts, and delivery waits for the reply to be released. A reply that was begun on the
speculation that the turn is over is simply one that is not released yet.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.audio.timeline import KEPT_S, Timeline
from duplex.dialogue.interfaces import Steps
from duplex.dialogue.playback import PlaybackLedger
from duplex.dialogue.reply_parts import (
    ReplyAudio,
    ReplyPart,
    ReplyText,
    ReplyThought,
    UnheardRest,
    length,
    moved,
    pieces,
)
from duplex.interruption.echo_reference import EchoReference
from duplex.metrics import Clock, TurnMarks
from engine.types import (
    CallArguments,
    CallEnded,
    CallPiece,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    Speech,
    Thought,
)
from engine.worker import Priority
from tts.text.segment import Segmenter
from tts.types import AudioChunk, SpokenWord, Utterance, Voice

Sink = Callable[[ReplyPart], Awaitable[None]]
_CHARACTERS_PER_S = 15.0  # of English speech, to say how long unspoken text will last
_CODES_PER_S = 25  # of a brain that speaks itself
_SHORT_WORDS = 12


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


class Mind(Protocol):
    """Where the words of a reply come from; see `duplex.dialogue.interfaces.EngineSession`."""

    def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""


class SpeechPipeline:
    """One reply. Owned by the session that starts, releases or cancels its `run`.

    It can be paused and resumed while it is made or played; each time it is resumed what follows
    belongs to a new item, so its ledger begins anew.
    """

    def __init__(
        self,
        speech: VoiceSetup | None,
        marks: TurnMarks,
        sink: Sink,
        clock: Clock,
        rest: UnheardRest | None = None,
    ) -> None:
        """``rest`` is spoken before what `run` gives."""
        self.marks = marks
        self.released = asyncio.Event()  # set when the turn is confirmed; output goes out then
        self.finished: Finished | None = None  # set when the brain is done; the voice may not be
        self.is_over = False  # set when all of it was delivered
        self._going = asyncio.Event()  # cleared while it is paused
        self._going.set()
        self._paused = asyncio.Event()  # the opposite
        self._rate_hz = speech.output_hz if speech else 24_000
        self._open_item(0)
        self._again: deque[ReplyAudio] = deque(rest.audio if rest else ())  # goes before the queue
        self._made_before = sum(len(audio.samples) for audio in self._again)
        self._text = ""  # all words so far
        self._calls = False  # whether the brain has begun to call a function
        self._voiced = 0  # characters of it whose audio was made
        self._speech = speech
        self._sink = sink
        self._clock = clock
        self._takes_codes = speech is not None and speech.voice.takes_codes
        # The brain may be so far ahead, in sentences or in groups of codes of 160 ms; then it
        # waits for the voice.
        self._segments: asyncio.Queue[_Segment | CallPiece | None] = asyncio.Queue(
            64 if self._takes_codes else 4
        )
        # 256: about 6 s of thoughts at 40 tokens/s before the reply is released
        self._outgoing: asyncio.Queue[ReplyPart | None] = asyncio.Queue(256)
        self._deliverable = asyncio.Event()  # set when there may be something to deliver
        self._queued_samples = self._made_before  # synthesised and not yet delivered
        self._unspoken_s = 0.0  # about how long that will last which is not synthesised
        self._sounds = asyncio.Event()  # set when the first audio was made
        self._spoken = False  # whether all of the speech was made

    async def run(
        self, mind: Mind, history: Sequence[Message], options: GenerationOptions
    ) -> Finished:
        """Make the whole reply and deliver it; returns why it ended and what it cost."""
        async with asyncio.TaskGroup() as tasks:
            brain = tasks.create_task(self._think(mind, history, options))
            if self._speech is not None:
                tasks.create_task(self._speak(self._speech))
            tasks.create_task(self._deliver())
        return brain.result()

    def pause(self) -> None:
        """Make and deliver nothing more for now; what is begun may still be finished."""
        self._going.clear()
        self._paused.set()

    def resume(self, from_sample: int) -> None:
        """Go on with a new item, whose audio begins at the current one's ``from_sample``."""
        waited = length(self._again)
        self._again = self._unheard(from_sample)
        self._queued_samples += length(self._again) - waited
        self._paused.clear()
        self._going.set()
        self._deliverable.set()

    @property
    def is_paused(self) -> bool:
        """Whether `pause` was called, and `resume` was not."""
        return self._paused.is_set()

    async def was_paused_within(self, seconds: float) -> bool:
        """Wait so long for a pause; whether there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._paused.wait()
        except TimeoutError:
            return self.is_paused  # it may have come at the same moment
        return True

    async def deliver_again(self) -> None:
        """After `run`: deliver what `resume` has taken up again. Waits while it is paused."""
        await self._going.wait()
        while self._again:
            await self._hand_over(self._again.popleft())
            await self._going.wait()

    def has_more(self, from_sample: int, than: int = 0) -> bool:
        """Whether there are more words ``than`` so many after the current item's
        ``from_sample``, as far as is known."""
        waiting = sum(len(audio.words) for audio in self._again)
        left = waiting + len(self.ledger.words_unheard(from_sample))
        return not self.is_over or left > than

    @property
    def is_short(self) -> bool:
        """Whether it is a few words in all, as an aside is."""
        return self.finished is not None and len(self._text.split()) <= _SHORT_WORDS

    @property
    def is_at_limit(self) -> bool:
        """Whether the brain would have said more than it was let."""
        return self.finished is not None and self.finished.reason == "length"

    def rest(self, from_sample: int) -> UnheardRest | None:
        """What comes after the current item's ``from_sample``, of a reply that is given up. Asked
        once: it takes what is left. None if there are no words, or a function was to be called
        after them."""
        if self._calls:
            return None
        audio = self._unheard(from_sample)
        while not self._outgoing.empty():
            event = self._outgoing.get_nowait()
            if isinstance(event, ReplyAudio):
                audio.append(event)
        is_spoken = self._speech is not None and not self._takes_codes
        text = self._text[self._voiced :] if is_spoken else ""
        if not text.strip() and not any(word.text.strip() for part in audio for word in part.words):
            return None
        is_whole = self.finished is not None and self.finished.reason == "stop"
        if self._takes_codes and not self._spoken:  # codes that wait for the voice are lost
            is_whole = False
        return UnheardRest(tuple(moved(part, self._item_from) for part in audio), text, is_whole)

    def sounding(self, frame_samples: int) -> Samples:
        """What of it sounds at the caller, in a frame of 16 kHz that follows the one before."""
        return self._reference.frame(self._clock(), frame_samples)

    def _open_item(self, from_sample: int) -> None:
        """What is delivered from the reply's sample ``from_sample`` on belongs to a new item."""
        self._item_from = from_sample
        self.ledger = PlaybackLedger(self._rate_hz)
        self._sent = Timeline()  # since the item began
        self._reference = EchoReference(self._rate_hz)

    def _unheard(self, from_sample: int) -> deque[ReplyAudio]:
        """Close the item at its sample ``from_sample``; what was to be delivered of it."""
        samples = self._sent.since(from_sample)
        words = self.ledger.words_unheard(from_sample)
        sent_to = self._item_from + self.ledger.sent_samples
        start = sent_to - len(samples)
        spoken = [SpokenWord(word.text, self._item_from + word.end_sample) for word in words]
        self._open_item(start)
        return deque([*pieces(samples, spoken, start, self._rate_hz), *self._again])

    async def _think(
        self, mind: Mind, history: Sequence[Message], options: GenerationOptions
    ) -> Finished:
        segmenter = Segmenter()
        finished: Finished | None = None
        options = replace(options, speech_ahead_s=self._speech_ahead_s)
        async with aclosing(mind.respond(history, options)) as pieces:
            async for piece in pieces:
                await self._going.wait()
                if isinstance(piece, Finished):
                    self.finished = finished = piece
                    break
                self.marks.reach("first_token")
                if isinstance(piece, Thought):
                    await self._put_out(ReplyThought(piece.text))
                elif isinstance(piece, CallStarted | CallArguments | CallEnded):
                    self._calls = True
                    await self._put_clauses(segmenter.finish())
                    if self._speech is None:
                        await self._put_out(piece)
                    else:
                        await self._segments.put(piece)
                else:
                    await self._say(piece, segmenter)
        if self._speech is None:
            await self._put_out(None)
        else:
            await self._put_clauses(segmenter.finish())
            await self._segments.put(None)
        assert finished is not None, "an engine ends every answer with Finished"
        return finished

    async def _say(self, piece: Speech, segmenter: Segmenter) -> None:
        self._text += piece.text
        if self._speech is None:
            if piece.text:  # codes may come without any
                await self._put_out(ReplyText(piece.text))
        elif self._takes_codes:
            await self._put(_Segment(piece.text, piece.codes))
        else:
            await self._put_clauses(segmenter.feed(piece.text))

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
                await self._put_out(segment)
                continue
            chunks = utterance.feed(segment.text, segment.codes)
            await self._sound(chunks, resampler, speech, segment.lasts_s)
            self._sounds.set()  # also after a segment that has no sound
        await self._end_speech(utterance, resampler, speech)
        await self._put_out(None)

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
                    SpokenWord(word.text, self._made_before + round(word.end_sample * ratio))
                    for word in chunk.words
                )
                self._voiced += sum(len(word.text) for word in words)
                made_s = min(expected_s, len(chunk.samples) / rate_hz)
                expected_s -= made_s
                self._unspoken_s -= made_s
                await self._put_audio(ReplyAudio(resampler.feed(chunk.samples), words))
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
        await self._put_out(audio)

    async def _put_out(self, event: ReplyPart | None) -> None:
        await self._outgoing.put(event)
        self._deliverable.set()

    async def _keep_pace(self, speech: VoiceSetup) -> None:
        """Wait until less than ``lead_s`` of audio is made and not yet heard."""
        while True:
            await self._going.wait()
            excess_s = self._made_ahead_s() - speech.lead_s
            if excess_s <= 0:
                return
            if self.released.is_set():
                await asyncio.sleep(excess_s)
            else:
                await self.released.wait()

    async def _deliver(self) -> None:
        await self.released.wait()
        while (event := await self._next()) is not None:
            await self._hand_over(event)
        self.is_over = True

    async def _next(self) -> ReplyPart | None:
        while True:
            await self._going.wait()
            if self._again:
                return self._again.popleft()
            if not self._outgoing.empty():
                return self._outgoing.get_nowait()
            self._deliverable.clear()
            await self._deliverable.wait()

    async def _hand_over(self, event: ReplyPart) -> None:
        if isinstance(event, ReplyAudio):
            self._queued_samples -= len(event.samples)
            event = moved(event, self._item_from)
            self._note_sent(event)
            self.marks.reach("released")
        elif not isinstance(event, ReplyThought):
            self.marks.reach("released")
        await self._sink(event)

    def _note_sent(self, audio: ReplyAudio) -> None:
        now = self._clock()
        self.ledger.feed(len(audio.samples), audio.words, now)
        self._sent.feed(audio.samples)
        self._sent.forget(self.ledger.heard_samples(now) - round(KEPT_S * self._rate_hz))
        self._reference.feed(audio.samples, now)
