"""The JSON streams of Twilio, Telnyx, Plivo and Exotel, which differ only in names.

A stream starts once, everything behind its start names it, and its audio, keys and marks stand in
objects of the same shape. Twilio's was the first (https://www.twilio.com/docs/voice/media-streams).
"""

from abc import ABC, abstractmethod
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
from duplex.phone.events import CallerAudio, PhoneEvent, Played, Started, Stopped


class _Media(msgspec.Struct, frozen=True):
    payload: str
    track: str = "inbound"


class _MediaMessage(msgspec.Struct, frozen=True):
    media: _Media


class _Dtmf(msgspec.Struct, frozen=True):
    digit: str | int


class _DtmfMessage(msgspec.Struct, frozen=True):
    dtmf: _Dtmf


class _Mark(msgspec.Struct, frozen=True):
    name: str


class _MarkMessage(msgspec.Struct, frozen=True):
    mark: _Mark


class MediaStream(ABC):
    """A `PhoneCodec` but for its start. ``stream_field`` names the stream in messages, which may
    leave it out unless ``must_name``; audio of other ``tracks`` is not the caller's."""

    frame_ms = 20
    has_marks = True
    stream_field: str
    must_name = False
    tracks: frozenset[str] = frozenset({"inbound"})
    played_event = "mark"

    def __init__(self) -> None:
        self._stream = ""  # its id, once it has started
        self._sample_bytes = 1  # likewise

    @abstractmethod
    def begin(self, message: dict[str, Any]) -> tuple[str, Started]:
        """Read a start: return the stream's id, and the event.

        Raises:
            ProtocolError: it cannot be read, or its audio is none that is known.
        """

    def played(self, message: dict[str, Any]) -> str:
        """Return the mark that has come back.

        Raises:
            ProtocolError: it cannot be read.
        """
        return read(message, _MarkMessage).mark.name

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """See `PhoneCodec`."""
        fields = read_object(message)
        kind = fields.get("event")
        if kind == "start":
            return [self._start(fields)]
        if kind not in ("media", "dtmf", "stop", self.played_event):
            return ()
        if not self._stream:
            raise refused(f"{kind} before start")
        unnamed = None if self.must_name else self._stream
        if fields.get(self.stream_field, unnamed) != self._stream:
            raise refused(f"{kind} of another stream")
        match kind:
            case "media":
                return self._audio(read(fields, _MediaMessage).media)
            case "dtmf":
                return key_pressed(str(read(fields, _DtmfMessage).dtmf.digit))
            case "stop":
                return [Stopped()]
        return [Played(self.played(fields))]

    def _audio(self, media: _Media) -> Sequence[PhoneEvent]:
        if media.track not in self.tracks:
            return []
        audio = from_base64(media.payload)
        if len(audio) % self._sample_bytes:
            raise refused("a sample cut in two")
        return [CallerAudio(audio)]

    def _start(self, fields: dict[str, Any]) -> Started:
        if self._stream:
            raise refused("a second start")
        stream, started = self.begin(fields)
        if not stream:
            raise refused("a start without a stream")
        self._stream = stream
        self._sample_bytes = started.encoding.bytes_per_sample
        return started

    def _write(self, event: str, **fields: Any) -> Wire:
        return write(event=event, **{self.stream_field: self._stream}, **fields)

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return self._write("media", media={"payload": to_base64(audio)})

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return self._write("mark", mark={"name": name})

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return self._write("clear")

    def hang_up(self) -> Wire | None:
        """No message: the call goes on with the instructions that its maker gave the provider."""
        return None
