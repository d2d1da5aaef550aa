"""Exotel's Voicebot applet (https://support.exotel.com, "stream and voicebot applet")."""

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
from duplex.phone.events import Encoding, Heard, PhoneEvent, Played, Started, Stopped
from duplex.phone.twilio import DtmfMessage, MarkMessage, MediaMessage

_RATES = frozenset({8000, 16000, 24000})


class _MediaFormat(msgspec.Struct, frozen=True):
    sample_rate: str | int = 8000


class _Start(msgspec.Struct, frozen=True):
    stream_sid: str
    call_sid: str
    account_sid: str = ""
    media_format: _MediaFormat = _MediaFormat()
    custom_parameters: dict[str, Any] | str | None = None  # a text where there are none


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start


class ExotelCodec:
    """16-bit little-endian PCM. It wants at least 100 ms in a message, else its playing stutters,
    in multiples of 320 bytes."""

    frame_ms = 100
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
                if told.get("stream_sid", self._stream) != self._stream:
                    raise refused(f"{kind} of another stream")
                return self._within(kind, told)
        return ()

    def _start(self, start: _Start) -> Started:
        if self._stream:
            raise refused("a second start")
        rate = str(start.media_format.sample_rate)
        if not rate.isdecimal() or int(rate) not in _RATES:
            raise refused("the audio is not PCM at 8, 16 or 24 kHz")
        if not start.stream_sid:
            raise refused("a start without a stream")
        self._stream = start.stream_sid
        encoding = Encoding("pcm16", int(rate))
        told = start.custom_parameters
        parameters = texts(told) if isinstance(told, dict) else {}
        return Started(start.call_sid, start.account_sid, encoding, parameters)

    def _within(self, kind: str, told: dict[str, Any]) -> Sequence[PhoneEvent]:
        match kind:
            case "media":
                return [Heard(from_base64(read(told, MediaMessage).media.payload))]
            case "dtmf":
                return key_pressed(read(told, DtmfMessage).dtmf.digit)
            case "mark":
                return [Played(read(told, MarkMessage).mark.name)]
        return [Stopped()]

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return write(event="media", stream_sid=self._stream, media={"payload": to_base64(audio)})

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return write(event="mark", stream_sid=self._stream, mark={"name": name})

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return write(event="clear", stream_sid=self._stream)

    def hang_up(self) -> Wire | None:
        """The call goes on with the next applet."""
        return None
