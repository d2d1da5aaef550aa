"""The interface of the providers' codecs, and strict reading for all of them.

A codec is sans-IO: messages in, events out; one object a call. A message that does not belong
there is a `ProtocolError`; what becomes of it says `duplex.phone.providers.tolerance`. Unknown
kinds of messages are ignored, as providers add some.
"""

import base64
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from duplex.errors import ProtocolError
from duplex.phone.events import KEYS, KeyPressed, PhoneEvent
from duplex.protocol.codes import Code
from duplex.protocol.decoding import protocol_errors

T = TypeVar("T")
Wire = str | bytes

_ENCODER = msgspec.json.Encoder()
_MAX_PARAMETERS = 64


class PhoneCodec(Protocol):
    """One provider's messages, of one call."""

    frame_ms: int  # of audio in one message
    has_marks: bool  # whether the provider reports what was played

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """Read one message.

        Raises:
            ProtocolError: it cannot be read, or does not belong there.
        """

    def play(self, audio: bytes) -> Wire:
        """Return the message that has audio played, behind what is queued."""

    def mark(self, name: str) -> Wire:
        """Return the message that has the provider report when all audio so far is played. Use it
        only if ``has_marks``."""

    def clear(self) -> Wire | None:
        """Return the message that has queued audio forgotten; None if there is no such message."""

    def hang_up(self) -> Wire | None:
        """Return the last message before the connection is closed; None if there is none."""


def read_object(message: Wire) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ProtocolError: ``message`` is none.
    """
    with protocol_errors():
        return msgspec.json.decode(message, type=dict[str, Any])


def read(message: dict[str, Any], shape: type[T]) -> T:
    """Return ``message`` as a ``shape``; numbers may be strings.

    Raises:
        ProtocolError: a field is missing or wrong.
    """
    with protocol_errors():
        return msgspec.convert(message, shape, strict=False)


def write(**fields: Any) -> str:
    """Write one JSON object."""
    return _ENCODER.encode(fields).decode()


def to_base64(audio: bytes) -> str:
    """Return audio as it stands in JSON."""
    return base64.b64encode(audio).decode("ascii")


def from_base64(payload: str) -> bytes:
    """Return the audio that stands in JSON as ``payload``.

    Raises:
        ProtocolError: it is no base64.
    """
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError as error:
        raise refused(f"a payload is no base64: {error}") from error


def key_pressed(digit: str) -> list[PhoneEvent]:
    """Return the event of a key, nothing if there is no such key."""
    return [KeyPressed(digit)] if digit in KEYS else []


def texts(parameters: dict[str, Any]) -> dict[str, str]:
    """Return those parameters that are texts.

    Raises:
        ProtocolError: there are too many.
    """
    if len(parameters) > _MAX_PARAMETERS:
        raise refused("there are too many parameters")
    return {name: value for name, value in parameters.items() if isinstance(value, str)}


def refused(why: str) -> ProtocolError:
    """Return the error for a message that does not belong there."""
    return ProtocolError(f"The phone line: {why}.", code=Code.INVALID_VALUE)
