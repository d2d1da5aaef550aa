"""Plivo audio streaming, bidirectional (https://www.plivo.com/docs/voice, "audio streaming")."""

from typing import Any

import msgspec

from duplex.phone.codec import Wire, read, refused, to_base64
from duplex.phone.events import PCMU, Started
from duplex.phone.providers.media_stream import MediaStream

_TYPE = "audio/x-mulaw"


class _MediaFormat(msgspec.Struct, frozen=True, rename="camel"):
    encoding: str = _TYPE
    sample_rate: int = 8000


class _Start(msgspec.Struct, frozen=True, rename="camel"):
    stream_id: str
    call_id: str = ""
    account_id: str = ""
    media_format: _MediaFormat = _MediaFormat()


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start
    extra_headers: str = ""


class _PlayedMessage(msgspec.Struct, frozen=True):
    name: str


class PlivoCodec(MediaStream):
    """Marks are called checkpoints. Its ``extraHeaders``, "name=value,...", are the parameters."""

    stream_field = "streamId"
    played_event = "playedStream"

    def begin(self, message: dict[str, Any]) -> tuple[str, Started]:
        """See `MediaStream`."""
        fields = read(message, _StartMessage)
        start = fields.start
        if (start.media_format.encoding, start.media_format.sample_rate) != (_TYPE, 8000):
            raise refused("the audio is not mu-law at 8 kHz")
        pairs = (pair.partition("=") for pair in fields.extra_headers.strip("{}").split(","))
        # Plivo may put "X-PH-" before the names that were given to it.
        parameters = {k.strip().removeprefix("X-PH-"): v.strip() for k, _, v in pairs if k.strip()}
        return start.stream_id, Started(start.call_id, start.account_id, PCMU, parameters)

    def played(self, message: dict[str, Any]) -> str:
        """See `MediaStream`."""
        return read(message, _PlayedMessage).name

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        media = {"contentType": _TYPE, "sampleRate": 8000, "payload": to_base64(audio)}
        return self._write("playAudio", media=media)

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return self._write("checkpoint", name=name)

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return self._write("clearAudio")
