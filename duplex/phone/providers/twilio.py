"""Twilio Media Streams, bidirectional (https://www.twilio.com/docs/voice/media-streams)."""

from typing import Any

import msgspec

from duplex.phone.codec import read, refused, texts
from duplex.phone.events import PCMU, Started
from duplex.phone.providers.media_stream import MediaStream


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


class TwilioCodec(MediaStream):
    """Every message out names the stream; any other kind than these three closes it (31924)."""

    stream_field = "streamSid"
    must_name = True

    def begin(self, message: dict[str, Any]) -> tuple[str, Started]:
        """See `MediaStream`."""
        start = read(message, _StartMessage).start
        form = start.media_format
        if (form.encoding, form.sample_rate, form.channels) != ("audio/x-mulaw", 8000, 1):
            raise refused("the audio is not mu-law at 8 kHz")
        parameters = texts(start.custom_parameters)
        return start.stream_sid, Started(start.call_sid, start.account_sid, PCMU, parameters)
