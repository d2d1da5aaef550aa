"""Exotel's Voicebot applet (https://support.exotel.com, "stream and voicebot applet")."""

from typing import Any

import msgspec

from duplex.phone.codec import read, refused, texts
from duplex.phone.events import Encoding, Started
from duplex.phone.providers.media_stream import MediaStream
from duplex.phone.providers.numbers import numbers_of

_RATES = frozenset({8000, 16000, 24000})


class _MediaFormat(msgspec.Struct, frozen=True):
    sample_rate: str | int = 8000


class _Start(msgspec.Struct, frozen=True):
    stream_sid: str
    call_sid: str
    account_sid: str = ""
    media_format: _MediaFormat = _MediaFormat()
    custom_parameters: dict[str, Any] | str | None = None  # a text where there are none
    from_: Any = msgspec.field(name="from", default=None)
    to: Any = None


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start


class ExotelCodec(MediaStream):
    """16-bit little-endian PCM. It wants at least 100 ms in a message, else its playing stutters,
    in multiples of 320 bytes."""

    frame_ms = 100
    stream_field = "stream_sid"

    def begin(self, message: dict[str, Any]) -> tuple[str, Started]:
        """See `MediaStream`."""
        start = read(message, _StartMessage).start
        rate = str(start.media_format.sample_rate)
        if not rate.isdecimal() or int(rate) not in _RATES:
            raise refused("the audio is not PCM at 8, 16 or 24 kHz")
        fields = start.custom_parameters
        told = numbers_of({"from": start.from_, "to": start.to})
        parameters = {**told, **(texts(fields) if isinstance(fields, dict) else {})}
        encoding = Encoding("pcm16", int(rate))
        return start.stream_sid, Started(start.call_sid, start.account_sid, encoding, parameters)
