"""Plivo audio streaming, bidirectional (https://www.plivo.com/docs/voice, "audio streaming")."""

from collections.abc import Sequence
from typing import Any

import msgspec

from duplex.phone.codec import (
    Wire,
    from_base64,
    key_pressed,
    read,
    read_object,
    refused,
    to_base64,
    write,
)
from duplex.phone.events import PCMU, Heard, PhoneEvent, Played, Started, Stopped
from duplex.phone.twilio import DtmfMessage, MediaMessage

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


class PlivoCodec:
    """Marks are called checkpoints. Its ``extraHeaders``, "name=value,...", are the parameters."""

    frame_ms = 20
    has_marks = True

    def __init__(self) -> None:
        self._stream = ""  # its id, once it has started

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """See `PhoneCodec`."""
        told = read_object(message)
        match told.get("event"):
            case "start":
                return [self._start(read(told, _StartMessage))]
            case "media" | "dtmf" | "playedStream" | "stop" as kind:
                if not self._stream:
                    raise refused(f"{kind} before start")
                if told.get("streamId", self._stream) != self._stream:
                    raise refused(f"{kind} of another stream")
                return self._within(kind, told)
        return ()

    def _start(self, message: _StartMessage) -> Started:
        if self._stream:
            raise refused("a second start")
        start = message.start
        if (start.media_format.encoding, start.media_format.sample_rate) != (_TYPE, 8000):
            raise refused("the audio is not mu-law at 8 kHz")
        if not start.stream_id:
            raise refused("a start without a stream")
        self._stream = start.stream_id
        pairs = (pair.partition("=") for pair in message.extra_headers.strip("{}").split(","))
        # Plivo may put "X-PH-" before the names that were given to it.
        parameters = {k.strip().removeprefix("X-PH-"): v.strip() for k, _, v in pairs if k.strip()}
        return Started(start.call_id, start.account_id, PCMU, parameters)

    def _within(self, kind: str, told: dict[str, Any]) -> Sequence[PhoneEvent]:
        match kind:
            case "media":
                media = read(told, MediaMessage).media
                return [Heard(from_base64(media.payload))] if media.track == "inbound" else []
            case "dtmf":
                return key_pressed(read(told, DtmfMessage).dtmf.digit)
            case "playedStream":
                return [Played(read(told, _PlayedMessage).name)]
        return [Stopped()]

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        media = {"contentType": _TYPE, "sampleRate": 8000, "payload": to_base64(audio)}
        return write(event="playAudio", media=media, streamId=self._stream)

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return write(event="checkpoint", streamId=self._stream, name=name)

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return write(event="clearAudio", streamId=self._stream)

    def hang_up(self) -> Wire | None:
        """The call goes on with its XML."""
        return None
