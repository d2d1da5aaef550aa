"""``POST /v1/audio/speech``: text to sound, as the OpenAI API has it, sent while it is made."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from duplex.audio.resample import Resampler
from duplex.dialogue.parts import Parts
from duplex.protocol.codes import Code
from duplex.server.http import HttpAnswer, HttpRequest, StreamedAnswer, problem
from duplex.speech_api.encoding import RATE_HZ, Encoder, NoSuchFormat, encoder
from duplex.speech_api.transcriptions import EVENTS, event
from engine.worker import Priority
from tts.text.segment import Segmenter
from tts.types import MAX_SPEED, MIN_SPEED, AudioChunk, Voice

PATH = "/v1/audio/speech"
MAX_BODY_BYTES = 256 * 1024  # a text of about three hours


class _VoiceId(msgspec.Struct, frozen=True):
    id: str


class _Wanted(msgspec.Struct, frozen=True):
    """Fields that this server has no use for are taken and forgotten."""

    input: str
    model: str = ""
    voice: str | _VoiceId | None = None
    response_format: str | None = None
    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    instructions: str | None = None


class SpeechPage:
    """Answers the requests of one server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def answer(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        """Say what ``request`` asks for; the answer begins after the first clause."""
        try:
            wanted = msgspec.json.decode(request.body, type=_Wanted)
            made, media_type = encoder(wanted.response_format or "mp3")
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error)[:400], Code.INVALID_VALUE)
        except NoSuchFormat as error:
            return problem(
                HTTPStatus.BAD_REQUEST, str(error), Code.INVALID_VALUE, param="response_format"
            )
        if not wanted.input.strip():
            message = "There is nothing to say: 'input' is empty."
            return problem(HTTPStatus.BAD_REQUEST, message, Code.INVALID_VALUE, param="input")
        name = wanted.voice.id if isinstance(wanted.voice, _VoiceId) else wanted.voice
        voice = self._parts.voice_of(name or "")
        if voice.takes_codes:
            message = "The voice of this server belongs to its model and reads no texts."
            return problem(HTTPStatus.BAD_REQUEST, message, Code.UNSUPPORTED_FEATURE)
        sound = self._sound(wanted.input, voice, wanted.speed or 1.0, made)
        # Before the answer begins: a voice that fails at once is told by the status.
        first = await anext(sound, b"")
        parts = _after(first, sound)
        if wanted.stream_format == "sse":
            return StreamedAnswer(_events(parts), EVENTS)
        return StreamedAnswer(parts, media_type)

    async def _sound(
        self, text: str, voice: Voice, speed: float, made: Encoder
    ) -> AsyncGenerator[bytes, None]:
        """The speech of ``text``, in parts that are not empty, behind what calls want to be said.

        It is made when it is asked for, so a client that reads slowly is spoken to slowly.
        """
        resampler = Resampler(voice.sample_rate, RATE_HZ)
        chunks = self._parts.voice_steps.stream(_spoken(text, voice, speed), Priority.BACKGROUND)
        async with aclosing(chunks):
            async for chunk in chunks:
                samples = resampler.feed(chunk.samples)
                if len(samples) and (data := await asyncio.to_thread(made.feed, samples)):
                    yield data
        rest = made.feed(resampler.flush()) + await asyncio.to_thread(made.finish)
        if rest:
            yield rest


def _spoken(text: str, voice: Voice, speed: float) -> Iterator[AudioChunk]:
    segmenter, utterance = Segmenter(), voice.open(speed)
    for segment in (*segmenter.feed(text), *segmenter.finish()):
        yield from utterance.feed(segment)
    yield from utterance.finish()


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part


async def _events(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        async for part in parts:
            yield event({"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()})
    usage = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 0)  # nothing is billed
    yield event({"type": "speech.audio.done", "usage": usage})
