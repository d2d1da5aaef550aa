"""Telnyx media streaming, bidirectional RTP (https://developers.telnyx.com, "media streaming").

The stream is not named in what is sent; audio is what the stream was started with.
"""

from typing import Any

import msgspec

from duplex.phone.codec import Wire, read, refused, texts, write
from duplex.phone.events import PCMA, PCMU, Started
from duplex.phone.providers.media_stream import MediaStream
from duplex.phone.providers.numbers import numbers_of

_ENCODINGS = {"PCMU": PCMU, "PCMA": PCMA}


class _MediaFormat(msgspec.Struct, frozen=True):
    encoding: str
    sample_rate: int = 8000
    channels: int = 1


class _Start(msgspec.Struct, frozen=True):
    call_control_id: str
    media_format: _MediaFormat
    custom_parameters: dict[str, Any] | None = None
    from_: Any = msgspec.field(name="from", default=None)
    to: Any = None


class _StartMessage(msgspec.Struct, frozen=True):
    start: _Start
    stream_id: str


class TelnyxCodec(MediaStream):
    """See `duplex.phone.codec.PhoneCodec`."""

    stream_field = "stream_id"
    tracks = frozenset({"inbound", "inbound_track"})

    def begin(self, message: dict[str, Any]) -> tuple[str, Started]:
        """See `MediaStream`."""
        fields = read(message, _StartMessage)
        start = fields.start
        encoding = _ENCODINGS.get(start.media_format.encoding)
        if encoding is None or start.media_format.sample_rate != encoding.rate_hz:
            raise refused("the audio is neither PCMU nor PCMA")
        told = numbers_of({"from": start.from_, "to": start.to})
        parameters = {**told, **texts(start.custom_parameters or {})}
        return fields.stream_id, Started(start.call_control_id, "", encoding, parameters)

    def _write(self, event: str, **fields: Any) -> Wire:
        return write(event=event, **fields)
