"""Vonage Voice API WebSockets (https://developer.vonage.com, "websockets"): binary PCM."""

from collections.abc import Sequence
from typing import Any

import msgspec

from duplex.phone.codec import Wire, key_pressed, read, read_object, refused, texts, write
from duplex.phone.events import CallerAudio, Encoding, PhoneEvent, Played, Started

_RATES = {f"audio/l16;rate={rate}": rate for rate in (8000, 16000, 24000)}


class _Connected(msgspec.Struct, frozen=True):
    content_type: str = msgspec.field(name="content-type")


class _Notified(msgspec.Struct, frozen=True):
    payload: dict[str, str]


class VonageCodec:
    """What was given as ``headers`` comes along with its first message. Its marks are
    notifications, which come back when the audio before them was played."""

    frame_ms = 20
    has_marks = True

    def __init__(self) -> None:
        self._has_started = False

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """See `PhoneCodec`."""
        if isinstance(message, bytes):
            if not self._has_started:
                raise refused("audio before websocket:connected")
            if len(message) % 2:
                raise refused("a sample cut in two")
            return [CallerAudio(message)]
        fields = read_object(message)
        match fields.get("event"):
            case "websocket:connected":
                return [self._start(fields)]
            case "websocket:dtmf":
                # The digit stood in an object of its own in older versions.
                older = fields.get("dtmf")
                digit = fields.get("digit", older.get("digit") if isinstance(older, dict) else None)
                return key_pressed(str(digit))
            case "websocket:notify":
                mark = read(fields, _Notified).payload.get("mark")
                return [Played(mark)] if mark is not None else []
        return ()

    def _start(self, fields: dict[str, Any]) -> Started:
        if self._has_started:
            raise refused("a second start")
        rate = _RATES.get(read(fields, _Connected).content_type.replace(" ", "").lower())
        if rate is None:
            raise refused("the audio is not PCM at 8, 16 or 24 kHz")
        parameters = texts(fields)
        self._has_started = True
        return Started(parameters.get("uuid", ""), "", Encoding("pcm16", rate), parameters)

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return audio

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return write(action="notify", payload={"mark": name})

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return write(action="clear")

    def hang_up(self) -> Wire | None:
        """The call goes on with its NCCO."""
        return None
