"""Recorded sound that a client puts into the conversation as an item, or into a response's input.

It is heard apart from the caller's turns, by an engine session of its own, one recording after the
other. What is to be answered waits for it (`prepare`); the caller may speak meanwhile.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec import UNSET, structs

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.dialogue.call import UNCLEAR, CallContext, Heard, stop_task
from duplex.errors import ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.input_stream import transcription_failed
from duplex.protocol.items import InputAudio, Item, Message, without_audio
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.session_config import AudioFormat
from duplex.turns.vad import SAMPLE_RATE
from engine.ear.guards import split_points
from engine.errors import EngineError
from engine.types import Transcript
from engine.uncancelled import uncancelled

MAX_WAITING = 8  # recordings that are not heard yet; then the client's next message waits
_AT_ONCE_S = 1  # of audio that is converted between turns of other calls
# Heard at a time: what is longer is cut at its quietest points, so that no recording keeps the ear
# from other callers for long.
_LONGEST_SAMPLES, _EARLIEST_SAMPLES = 28 * SAMPLE_RATE, 20 * SAMPLE_RATE
_MAX_KEPT = 64  # items of responses' inputs whose sound is kept


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound of one content part, in the client's format."""

    content_index: int
    audio: bytes
    audio_format: AudioFormat

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        bytes_per_s = self.audio_format.sample_rate * self.audio_format.codec.bytes_per_sample
        return len(self.audio) / bytes_per_s


def recordings_in(
    content: Sequence[object], audio_format: AudioFormat, max_s: float, param: str
) -> list[Recording]:
    """The recordings in an item's content that are to be heard: those without a transcript.
    ``param`` is the item's place in the event.

    Raises:
        ProtocolError: invalid_value, or item_too_large if they last more than ``max_s``.
    """
    found: list[Recording] = []
    for index, part in enumerate(content):
        if not isinstance(part, InputAudio) or part.transcript is not None:
            continue
        audio, width = part.audio, audio_format.codec.bytes_per_sample
        if not isinstance(audio, bytes):
            continue
        where = f"{param}.content[{index}].audio"
        if not audio:
            raise ProtocolError("The audio is empty.", code=Code.INVALID_VALUE, param=where)
        if len(audio) % width:
            raise ProtocolError(
                f"The audio has {len(audio)} bytes, which are no whole samples of {width} bytes.",
                code=Code.INVALID_VALUE,
                param=where,
            )
        found.append(Recording(index, audio, audio_format))
        if (seconds := lasting(found)) > max_s:
            raise ProtocolError(
                f"The audio lasts {seconds:.1f} s; an item may hold {max_s:g} s.",
                code=Code.ITEM_TOO_LARGE,
                param=where,
            )
    return found


def lasting(recordings: Sequence[Recording]) -> float:
    """How many seconds they last together."""
    return sum(recording.seconds for recording in recordings)


class Recordings:
    """Of one call."""

    def __init__(self, call: CallContext) -> None:
        self._call = call
        self._waiting: dict[str, asyncio.Task[None]] = {}  # by item, first to last

    async def room(self) -> None:
        """Wait until another recording may be begun."""
        while len(self._waiting) >= MAX_WAITING:
            await asyncio.wait(self._waiting.values(), return_when=asyncio.FIRST_COMPLETED)

    def begin(self, item_id: str, recordings: Sequence[Recording]) -> None:
        """Hear the recordings of an item that has joined the conversation."""
        before = next(reversed(self._waiting.values()), None)
        task = self._call.spawn(self._hear_item(item_id, recordings, before))
        self._waiting[item_id] = task
        task.add_done_callback(lambda _: self._waiting.pop(item_id, None))

    async def forget(self, item_id: str) -> None:
        """The item was deleted."""
        if (task := self._waiting.get(item_id)) is not None:
            await stop_task(task)
        self._call.recorded.pop(item_id, None)

    async def prepare(self, plan: ResponsePlan) -> ResponsePlan:
        """Wait until all that the plan's response answers was heard. Returns the plan with the
        words of what is in its own input."""
        while self._waiting:
            await asyncio.wait([*self._waiting.values()])
        if plan.input is None:
            return plan
        return replace(plan, input=tuple([await self._known(item, plan) for item in plan.input]))

    async def _known(self, item: Item, plan: ResponsePlan) -> Item:
        """``item`` of a response's input, with its words."""
        if not isinstance(item, Message) or all(map(_is_known, item.content)):
            return item
        if item.id in self._call.conversation and not any(map(_has_audio, item.content)):
            return self._call.conversation.retrieve(item.id)  # that was not heard when it was named
        audio_format = self._call.session_config.audio.input.format
        recordings = recordings_in(item.content, audio_format, float("inf"), "response.input")
        own = self._call.new_id("item")  # no other response has an item of that name
        words = {each.content_index: await self._told_words(own, each) for each in recordings}
        content = [
            structs.replace(part, transcript=words[index], audio=UNSET)
            if isinstance(part, InputAudio) and index in words
            else without_audio(part)
            for index, part in enumerate(item.content)
        ]
        return structs.replace(item, id=own, content=tuple(content))

    async def _told_words(self, item_id: str, recording: Recording) -> str:
        """Its words. The client is told if they cannot be had, and the response goes on."""
        try:
            words = await self._words(item_id, recording)
        except EngineError as error:
            self._call.send(wire.server_error(str(error)))
            return UNCLEAR
        return UNCLEAR if words.is_unclear else words.text

    async def _hear_item(
        self, item_id: str, recordings: Sequence[Recording], before: asyncio.Task[None] | None
    ) -> None:
        call = self._call
        if before is not None:
            await asyncio.wait([before])
        for each in recordings:
            try:
                words = await self._words(item_id, each)
            except EngineError as error:
                failed = transcription_failed(item_id, str(error))
                assert isinstance(failed, wire.TranscriptionFailed)
                call.send(structs.replace(failed, content_index=each.content_index))
                continue
            if item_id not in call.conversation:  # forgotten: there was too much
                return
            if words.is_unclear:
                call.unclear.add(item_id)
            call.conversation.set_transcript(item_id, each.content_index, words.text)
            if call.transcribes:
                call.send(
                    wire.TranscriptionCompleted(
                        item_id=item_id,
                        content_index=each.content_index,
                        transcript=words.text,
                        usage=wire.DurationUsage(seconds=each.seconds),
                    )
                )

    async def _words(self, item_id: str, recording: Recording) -> Transcript:
        """All words of the recording. Its sound, if the brain hears, is kept for the item.

        Raises:
            EngineError: the ear failed.
        """
        pieces = await self._hear(await _samples_of(recording))
        heard = tuple(Heard(piece.text, piece.sound) for piece in pieces)
        if any(piece.sound is not None for piece in heard):
            self._keep(item_id, recording.content_index, heard)
        text = " ".join(piece.text for piece in pieces if piece.text)
        samples = sum(piece.samples for piece in pieces)
        is_unclear = not text and any(piece.is_unclear for piece in pieces)
        return Transcript(text, text, samples, is_unclear=is_unclear)

    async def _hear(self, samples: Samples) -> list[Transcript]:
        session = self._call.thinker.open()
        cuts = split_points(samples, SAMPLE_RATE, _LONGEST_SAMPLES, _EARLIEST_SAMPLES)
        heard = []
        try:
            for piece in np.split(samples, cuts):
                session.begin_turn()
                session.append_audio(piece)
                heard.append(await session.end_turn())
        finally:
            await uncancelled(session.close())
        return heard

    def _keep(self, item_id: str, content_index: int, heard: tuple[Heard, ...]) -> None:
        recorded, conversation = self._call.recorded, self._call.conversation
        others = [key for key in recorded if key != item_id and key not in conversation]
        for key in others[:-_MAX_KEPT]:
            del recorded[key]
        recorded.setdefault(item_id, {})[content_index] = heard


def _is_known(part: object) -> bool:
    return not isinstance(part, InputAudio) or part.transcript is not None


def _has_audio(part: object) -> bool:
    return isinstance(part, InputAudio) and bool(part.audio)


async def _samples_of(recording: Recording) -> Samples:
    """The recording at 16 kHz, converted in steps between which other calls get their turn."""
    codec, rate_hz = recording.audio_format.codec, recording.audio_format.sample_rate
    resampler = Resampler(rate_hz, SAMPLE_RATE)
    step = rate_hz * codec.bytes_per_sample * _AT_ONCE_S
    parts: list[Samples] = []
    for start in range(0, len(recording.audio), step):
        parts.append(resampler.feed(codec.decode(recording.audio[start : start + step])))
        await asyncio.sleep(0)
    return np.concatenate([*parts, resampler.flush()])
