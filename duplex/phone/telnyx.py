"""Telnyx media streaming, bidirectional RTP (https://developers.telnyx.com, "media streaming").

The stream is not named in what is sent; audio is what the stream was started with.
"""

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
    texts,
    to_base64,
    write,
)
from duplex.phone.events import PCMA, PCMU, Heard, PhoneEvent, Played, Started, Stopped
from duplex.phone.twilio import DtmfMessage, MarkMessage, MediaMessage

_ENCODINGS = {"PCMU": PCMU, "PCMA": PCMA}


class _MediaFormat(msgspec.Struct, frozen=True):
    encoding: str
    sample_rate: int = 8000
    channels: int = 1


class _Start(msgspec.Struct, frozen=True):
    call_control_id: str
    media_format: _MediaFormat
    custom_parameters: dict[str, Any] | None = None


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start
    stream_id: str


class TelnyxCodec:
    """See `duplex.phone.codec.PhoneCodec`."""

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
            case "media" | "dtmf" | "mark" | "stop" as kind:
                if not self._stream:
                    raise refused(f"{kind} before start")
                if told.get("stream_id", self._stream) != self._stream:
                    raise refused(f"{kind} of another stream")
                return self._within(kind, told)
        return ()

    def _start(self, message: _StartMessage) -> Started:
        if self._stream:
            raise refused("a second start")
        start = message.start
        encoding = _ENCODINGS.get(start.media_format.encoding)
        if encoding is None or start.media_format.sample_rate != encoding.rate_hz:
            raise refused("the audio is neither PCMU nor PCMA")
        if not message.stream_id:
            raise refused("a start without a stream")
        self._stream = message.stream_id
        return Started(start.call_control_id, "", encoding, texts(start.custom_parameters or {}))

    def _within(self, kind: str, told: dict[str, Any]) -> Sequence[PhoneEvent]:
        match kind:
            case "media":
                media = read(told, MediaMessage).media
                is_callers = media.track in ("inbound", "inbound_track")
                return [Heard(from_base64(media.payload))] if is_callers else []
            case "dtmf":
                return key_pressed(read(told, DtmfMessage).dtmf.digit)
            case "mark":
                return [Played(read(told, MarkMessage).mark.name)]
        return [Stopped()]

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return write(event="media", media={"payload": to_base64(audio)})

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return write(event="mark", mark={"name": name})

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return write(event="clear")

    def hang_up(self) -> Wire | None:
        """The call goes on with what its maker commands next."""
        return None
