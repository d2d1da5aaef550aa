"""``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``: a sound file to text, or to
English text, as the OpenAI API has it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import msgspec

from duplex.dialogue.parts import Parts
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.server.forms import Form, read_form
from duplex.server.http import TEXT, HttpAnswer, HttpRequest, StreamedAnswer, problem
from duplex.speech_api import transcripts
from duplex.speech_api.hearing import PassageEar, Recording, lent_ear, passages
from duplex.speech_api.sound_files import UnreadableSound, blocks
from engine.ear.passage import Wish
from engine.errors import EngineError

PATH, TRANSLATIONS_PATH = "/v1/audio/transcriptions", "/v1/audio/translations"
MAX_BODY_BYTES = 25 * 1024 * 1024 + 64 * 1024  # a file as large as OpenAI takes, and its form
EVENTS = "text/event-stream"
_NO_TRANSLATION = (
    "The ear of this server does not translate. A Whisper of many languages does: "
    'its owner sets ear.model = "whisper-base".'
)
_YES, _NO = ("true", "1"), ("", "false", "0")


@dataclass(frozen=True, slots=True)
class _Request:
    sound: bytes
    wish: Wish
    format: str
    granularities: frozenset[str]
    is_streamed: bool


class Transcriptions:
    """Answers the requests of one server: with what was said, or with that ``in_english``."""

    def __init__(self, parts: Parts, *, in_english: bool = False) -> None:
        self._parts = parts
        self._in_english = in_english

    async def answer(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        """Hear the file in ``request``; takes as long as it takes to hear it."""
        async with AsyncExitStack() as stack:
            ear = await stack.enter_async_context(lent_ear(self._parts.engine))
            try:
                form = read_form(request.headers.get("content-type", ""), request.body)
                wanted = _in_english(form, ear) if self._in_english else _wanted(form, ear)
                recording = Recording(blocks(wanted.sound), self._parts.vad)
                # Before the answer begins: what cannot be read is refused by its status.
                await recording.open()
                heard = passages(recording, ear, wanted.wish)
                if wanted.is_streamed:
                    stack = stack.pop_all()  # the stream needs the ear until its end
                    return StreamedAnswer(_streamed(heard, stack), EVENTS)
                async with aclosing(heard):
                    found = [passage async for passage in heard]
            except (ProtocolError, UnreadableSound) as error:
                return _refusal(error)
            except EngineError as error:
                return problem(HTTPStatus.BAD_GATEWAY, str(error), Code.SERVER_ERROR)
        return _whole(found, recording.duration_s, wanted)


def _wanted(form: Form, ear: PassageEar) -> _Request:
    """What a form asks for. The model is whatever hears here, the temperature is 0.

    Raises:
        ProtocolError: it cannot be done.
    """
    if "file" not in form.files:
        raise ProtocolError(
            "The form has no file in a field 'file'.", code=Code.MISSING_FIELD, param="file"
        )
    response_format = form.one("response_format") or "json"
    if response_format not in transcripts.FORMATS:
        raise _invalid("response_format", response_format, ", ".join(transcripts.FORMATS))
    granularities = frozenset(form.all("timestamp_granularities")) or frozenset({"segment"})
    for name in granularities - {"word", "segment"}:
        raise _invalid("timestamp_granularities", name, "word, segment")
    if "word" in granularities and not ear.knows_times and response_format == "verbose_json":
        raise ProtocolError(
            "The ear of this server does not know when each word is said; ask for segments.",
            code=Code.UNSUPPORTED_FEATURE,
            param="timestamp_granularities",
        )
    stream = form.one("stream").lower()
    if stream not in _YES + _NO:
        raise _invalid("stream", stream, "true, false")
    wants_times = response_format in ("srt", "vtt", "verbose_json")
    wish = Wish(
        _language(form.one("language"), ear),
        prompt=form.one("prompt"),
        with_words=wants_times and ear.knows_times,
    )
    return _Request(form.files["file"], wish, response_format, granularities, stream in _YES)


def _in_english(form: Form, ear: PassageEar) -> _Request:
    """Likewise, for a translation. Its words have no times of their own, and it is not streamed.

    Raises:
        ProtocolError: it cannot be done.
    """
    if not ear.translates:
        raise ProtocolError(_NO_TRANSLATION, code=Code.UNSUPPORTED_FEATURE)
    wanted = _wanted(form, ear)
    wish = replace(wanted.wish, in_english=True, with_words=False)
    return replace(wanted, wish=wish, granularities=frozenset({"segment"}), is_streamed=False)


def _language(wanted: str, ear: PassageEar) -> str | None:
    """A language's code, without its region.

    Raises:
        ProtocolError: the ear does not know it.
    """
    if not wanted or wanted.lower() == "auto":
        return None
    code = wanted.replace("_", "-").split("-")[0].lower()
    known = ear.languages
    if known is not None and code not in known:
        raise _invalid("language", wanted, ", ".join(sorted(known)))
    return code


def _invalid(param: str, value: str, known: str) -> ProtocolError:
    message = f"Invalid {param}: '{value[:80]}'. Known here: {known}."
    return ProtocolError(message, code=Code.INVALID_VALUE, param=param)


def _refusal(error: ProtocolError | UnreadableSound) -> HttpAnswer:
    if isinstance(error, UnreadableSound):
        return problem(HTTPStatus.BAD_REQUEST, str(error), Code.INVALID_VALUE, param="file")
    return problem(
        HTTPStatus.BAD_REQUEST, str(error), error.code or Code.INVALID_VALUE, param=error.param
    )


def _whole(
    found: list[transcripts.HeardPassage], duration_s: float, wanted: _Request
) -> HttpAnswer:
    texts: dict[str, Callable[[], str]] = {
        "text": lambda: transcripts.joined(p.heard.text for p in found) + "\n",
        "srt": lambda: transcripts.as_srt(found),
        "vtt": lambda: transcripts.as_vtt(found),
    }
    make = texts.get(wanted.format)
    if make is not None:
        kind = "text/vtt; charset=utf-8" if wanted.format == "vtt" else TEXT
        return HttpAnswer(HTTPStatus.OK, make().encode(), kind)
    if wanted.format == "json":
        answer = transcripts.as_json(found, duration_s)
    else:
        answer = transcripts.as_verbose_json(found, duration_s, wanted.granularities)
        if wanted.wish.in_english:
            answer |= {"task": "translate", "language": "english"}
    return HttpAnswer(HTTPStatus.OK, msgspec.json.encode(answer))


async def _streamed(
    heard: AsyncGenerator[transcripts.HeardPassage, None], stack: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    text = ""
    async with stack, aclosing(heard):
        try:
            async for passage in heard:
                delta = (" " if text else "") + passage.heard.text
                text += delta
                yield event({"type": "transcript.text.delta", "delta": delta})
        except (UnreadableSound, EngineError) as error:
            yield event({"type": "error", "error": {"message": str(error)}})
            return
        yield event({"type": "transcript.text.done", "text": text})


def event(fields: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"
