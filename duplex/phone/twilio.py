"""Twilio Media Streams, bidirectional (https://www.twilio.com/docs/voice/media-streams).

Exotel's and Telnyx's messages have the same shape but for names; see there.
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
from duplex.phone.events import PCMU, Heard, PhoneEvent, Played, Started, Stopped


class _MediaFormat(msgspec.Struct, frozen=True, rename="camel"):
    encoding: str
    sample_rate: int
    channels: int


class _Start(msgspec.Struct, frozen=True, rename="camel"):
    stream_sid: str
    call_sid: str
    media_format: _MediaFormat
    account_sid: str = ""
    custom_parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start


class Media(msgspec.Struct, frozen=True):
    """Of one message; ``track`` tells whose audio it is."""

    payload: str
    track: str = "inbound"


class MediaMessage(msgspec.Struct, frozen=True):
    """Audio of the caller."""

    media: Media


class _Dtmf(msgspec.Struct, frozen=True):
    digit: str


class DtmfMessage(msgspec.Struct, frozen=True):
    """A key was pressed."""

    dtmf: _Dtmf


class _Mark(msgspec.Struct, frozen=True):
    name: str


class MarkMessage(msgspec.Struct, frozen=True):
    """A mark has come back."""

    mark: _Mark


class TwilioCodec:
    """Every message out names the stream; any other kind than these three closes it (31924)."""

    frame_ms = 20
    has_marks = True

    def __init__(self) -> None:
        self._stream = ""  # its id, once it has started

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """See `PhoneCodec`."""
        told = read_object(message)
        match told.get("event"):
            case "start":
                return [self._start(read(told, _StartMessage).start)]
            case "media" | "dtmf" | "mark" | "stop" as kind:
                if not self._stream:
                    raise refused(f"{kind} before start")
                if told.get("streamSid") != self._stream:
                    raise refused(f"{kind} of another stream")
                return self._within(kind, told)
        return ()

    def _start(self, start: _Start) -> Started:
        if self._stream:
            raise refused("a second start")
        form = start.media_format
        if (form.encoding, form.sample_rate, form.channels) != ("audio/x-mulaw", 8000, 1):
            raise refused("the audio is not mu-law at 8 kHz")
        if not start.stream_sid:
            raise refused("a start without a stream")
        self._stream = start.stream_sid
        return Started(start.call_sid, start.account_sid, PCMU, texts(start.custom_parameters))

    def _within(self, kind: str, told: dict[str, Any]) -> Sequence[PhoneEvent]:
        match kind:
            case "media":
                media = read(told, MediaMessage).media
                return [Heard(from_base64(media.payload))] if media.track == "inbound" else []
            case "dtmf":
                return key_pressed(read(told, DtmfMessage).dtmf.digit)
            case "mark":
                return [Played(read(told, MarkMessage).mark.name)]
        return [Stopped()]

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return write(event="media", streamSid=self._stream, media={"payload": to_base64(audio)})

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return write(event="mark", streamSid=self._stream, mark={"name": name})

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return write(event="clear", streamSid=self._stream)

    def hang_up(self) -> Wire | None:
        """Twilio goes on with the next verb of its TwiML when the connection closes."""
        return None
