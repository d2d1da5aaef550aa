"""The events that only calls over WebRTC have: the server holds the buffer that is played."""

import msgspec
from msgspec import Struct

from duplex.protocol.client_events import GivenId
from duplex.protocol.decoding import protocol_errors
from duplex.protocol.ids import NewId

_CLEAR = "output_audio_buffer.clear"
_LONGEST_CLEAR = 1024  # of that event: it has two short fields


class _BufferEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: str
    response_id: str


class BufferStarted(_BufferEvent, frozen=True, tag="output_audio_buffer.started"):
    """The response begins to sound."""


class BufferStopped(_BufferEvent, frozen=True, tag="output_audio_buffer.stopped"):
    """All of the response has sounded."""


class BufferCleared(_BufferEvent, frozen=True, tag="output_audio_buffer.cleared"):
    """The rest of the response will not sound."""


class BufferClear(Struct, frozen=True, kw_only=True, tag_field="type", tag=_CLEAR):
    """The client wants to hear nothing more of what is made."""

    event_id: GivenId | None = None


_DECODER = msgspec.json.Decoder(BufferClear)
_ENCODER = msgspec.json.Encoder()


def is_clear(message: str | bytes) -> bool:
    """Whether ``message`` is `BufferClear`.

    Raises:
        ProtocolError: it is, and cannot be read.
    """
    text = message if isinstance(message, str) else message.decode(errors="replace")
    if len(text) > _LONGEST_CLEAR or f'"{_CLEAR}"' not in text:
        return False
    try:
        named = msgspec.json.decode(text, type=_Named)
    except msgspec.DecodeError:
        return False  # told by who reads the other events
    if named.type != _CLEAR:
        return False
    with protocol_errors():
        _DECODER.decode(text)
    return True


class _Named(Struct):
    type: str = ""


def encode(kind: type[BufferStarted | BufferStopped | BufferCleared], of: str, ids: NewId) -> str:
    """Write an event of the response ``of``."""
    return _ENCODER.encode(kind(event_id=ids("event"), response_id=of)).decode()
