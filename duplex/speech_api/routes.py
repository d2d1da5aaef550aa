"""The paths of the speech endpoints."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from duplex.dialogue.parts import Parts
from duplex.server import http
from duplex.speech_api import speech, transcriptions
from duplex.speech_api.desk import Desk

# Names that clients offer their users, or send unasked; any name means what is here.
_MODELS = ("whisper-1", "tts-1")


def exchanges(desk: Desk, parts: Parts) -> Mapping[str, http.Opener]:
    """What takes time, by path."""
    heard, spoken = transcriptions.Transcriptions(parts), speech.SpeechPage(parts)
    in_english = transcriptions.Transcriptions(parts, in_english=True)
    most = transcriptions.MAX_BODY_BYTES
    return {
        transcriptions.PATH: desk.opener(heard.answer, most),
        transcriptions.TRANSLATIONS_PATH: desk.opener(in_english.answer, most),
        speech.PATH: desk.opener(spoken.answer, speech.MAX_BODY_BYTES),
    }


def handlers(parts: Parts) -> Mapping[str, http.Handler]:
    """Lists by path, in the shape that Open WebUI reads. It sends no key with them, and they hold
    only names."""
    voices = [{"id": name, "name": name} for name in parts.voice_names]
    models = [{"id": name, "name": name} for name in _MODELS]
    return {
        "/v1/audio/voices": _listing({"voices": voices}),
        "/v1/audio/models": _listing({"models": models}),
    }


def _listing(content: Mapping[str, object]) -> http.Handler:
    page = http.HttpAnswer(HTTPStatus.OK, msgspec.json.encode(content))
    return http.read_only(lambda _: page)
