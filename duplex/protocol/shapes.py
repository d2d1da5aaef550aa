"""How the events of one call pass between it and its client.

A call has one shape from its beginning to its end. Inside there are only typed events, in the GA
shape. A client behind a socket sends and gets JSON, in the GA's or the beta's spelling; a client
in the same process, as a phone line is, sends and gets the typed events themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from duplex.protocol import client_events, server_events
from duplex.protocol.beta import BetaShape
from duplex.protocol.client_events import AudioAppend, ClientEvent
from duplex.protocol.ids import NewId
from duplex.protocol.server_events import OutputAudioDelta, ServerEvent

ClientMessage = str | bytes | ClientEvent
"""What a client sends: JSON over a socket, events in the same process."""
ServerMessage = str | ServerEvent
"""What a client gets, likewise."""
ShapeName = Literal["ga", "beta", "typed"]

_EVENT_BYTES = 200  # of an event without its texts and its audio, about as in JSON
_VALUE_BYTES = 8  # of a number


class Shape(Protocol):
    """How the events of one call are read and written."""

    def read(self, message: ClientMessage) -> ClientEvent:
        """Return the event that the client has sent.

        Raises:
            ProtocolError: it is no event, or one that cannot be obeyed.
        """
        ...

    def write(self, event: ServerEvent, new_id: NewId) -> Sequence[ServerMessage]:
        """Return the messages that report ``event``, each with an id of its own; maybe none."""
        ...


class GaShape:
    """JSON in the spelling of the GA API, which is also the server's own."""

    def read(self, message: ClientMessage) -> ClientEvent:
        """See `Shape`."""
        assert isinstance(message, str | bytes), "a socket carries text"
        return client_events.decode(message)

    def write(self, event: ServerEvent, new_id: NewId) -> Sequence[ServerMessage]:
        """One message for each event."""
        return [server_events.encode(event, new_id)]


class TypedShape:
    """No JSON and no base64: for a client in the same process."""

    def read(self, message: ClientMessage) -> ClientEvent:
        """Audio passes as it is. All else is checked as a socket's events are; see `Shape`."""
        assert not isinstance(message, str | bytes), "a client in the same process sends events"
        if isinstance(message, AudioAppend):
            return message
        return client_events.checked(message)

    def write(self, event: ServerEvent, new_id: NewId) -> Sequence[ServerMessage]:
        """The event itself, with an id."""
        return [msgspec.structs.replace(event, event_id=new_id("event"))]


def shape_of(name: ShapeName, conversation_id: str) -> Shape:
    """Return the shape of a call whose conversation has that id."""
    match name:
        case "ga":
            return GaShape()
        case "beta":
            return BetaShape(conversation_id)
        case "typed":
            return TypedShape()


def bytes_of(message: ServerMessage) -> int:
    """How much memory ``message`` takes, about: its text, or an event's texts and audio."""
    if isinstance(message, str):
        return len(message)
    if isinstance(message, OutputAudioDelta):
        return _EVENT_BYTES + len(message.delta)
    return _EVENT_BYTES + _bytes_in(message)


def _bytes_in(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Struct):
        return sum(_bytes_in(getattr(value, field)) for field in value.__struct_fields__)
    if isinstance(value, Mapping):
        return sum(len(str(key)) + _bytes_in(inside) for key, inside in value.items())
    if isinstance(value, Iterable):
        return sum(map(_bytes_in, value))
    return _VALUE_BYTES
