"""Any OpenAI-compatible transcription endpoint (a whisper server, a hosted model) as an ear."""

import io
import json
import wave

import numpy as np
from numpy.typing import NDArray

from engine.ear.interface import Manners
from engine.errors import EngineError
from engine.features import SAMPLE_RATE_HZ
from engine.remote.background import Background
from engine.remote.bodies import error_in
from engine.remote.service import Service

_AT_ONCE = 16  # calls that may be heard at a time; others wait
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 10  # endpoints refuse less, and no word is as short


class OpenAIEar:
    """A client of ``service``, which is sent the whole turn at each pause; there are no partial
    transcripts."""

    manners = Manners(at_once=_AT_ONCE, partials=False)

    def __init__(self, service: Service, model: str, language: str = "") -> None:
        """``language``: of the caller, as ISO 639-1; '' lets the endpoint find out."""
        self._service = service
        self._http = Background(service)
        self._fields = {"model": model, "response_format": "json"}
        if language:
            self._fields["language"] = language

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """See `Ear`.

        Raises:
            EngineError: the endpoint cannot be reached, refuses, or sends no text.
        """
        if len(pcm) < _SHORTEST_SAMPLES:
            return ""
        sound = {"file": ("turn.wav", wav_of(pcm), "audio/wav")}
        body = self._http.text("audio/transcriptions", files=sound, data=self._fields)
        return self._text_in(body).strip()

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def _text_in(self, body: bytes) -> str:
        written = body.decode("utf-8", "replace")
        try:
            answer = json.loads(written)
        except (ValueError, RecursionError):
            if written.lstrip()[:1] in ("{", "[", "<"):
                raise EngineError(f"{self._service.name} sent what cannot be read") from None
            return written  # plain text, whatever was asked for
        if isinstance(answer, bool | int | float):
            return written  # plain text again: somebody said a number
        if (error := error_in(answer)) is not None:
            raise EngineError(f"{self._service.name} reports an error: {self._service.safe(error)}")
        text = answer.get("text", answer) if isinstance(answer, dict) else answer
        if not isinstance(text, str | None):
            raise EngineError(f"{self._service.name} sent no text")
        return (text or "").encode("utf-8", "replace").decode()


def wav_of(pcm: NDArray[np.float32]) -> bytes:
    """``pcm``, ``[N]`` 16 kHz mono in [-1, 1], as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(np.round(np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
