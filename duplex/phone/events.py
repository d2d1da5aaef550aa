"""The events of a phone line, the same for all providers, and the encodings of its audio."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from duplex.audio.formats import ALAW, PCM16, ULAW, Codec

CALLER, CALLED = "caller", "called"
"""Parameters of a call that say who calls whom."""
TRACEPARENT = "traceparent"
_MAX_NUMBER = 64  # characters; an address of SIP may be longer than a number

_CODECS = {"pcmu": ULAW, "pcma": ALAW, "pcm16": PCM16}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the line's audio is encoded: mono; pcm16 is little-endian."""

    name: Literal["pcmu", "pcma", "pcm16"]
    rate_hz: int

    @property
    def codec(self) -> Codec:
        """What decodes and encodes it."""
        return _CODECS[self.name]

    @property
    def bytes_per_sample(self) -> int:
        """Size of one sample."""
        return self.codec.bytes_per_sample

    @property
    def silence(self) -> bytes:
        """One silent sample."""
        return {"pcmu": b"\xff", "pcma": b"\xd5", "pcm16": b"\0\0"}[self.name]


PCMU = Encoding("pcmu", 8_000)
PCMA = Encoding("pcma", 8_000)


# Events.


@dataclass(frozen=True, slots=True)
class Started:
    """The call begins. ``parameters`` are those that its maker set."""

    call_id: str  # the provider's
    account_id: str  # empty if the provider names none
    encoding: Encoding
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> str:
        """The number of who calls, if the provider tells it."""
        return self.parameters.get(CALLER, "")[:_MAX_NUMBER]

    @property
    def called(self) -> str:
        """The number that was called, likewise."""
        return self.parameters.get(CALLED, "")[:_MAX_NUMBER]

    @property
    def traceparent(self) -> str:
        """The trace that the call is part of, as W3C Trace Context names it; "" if there is
        none."""
        return self.parameters.get(TRACEPARENT, "")


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Audio of the caller, in the line's encoding."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller presses a key of the telephone: 0 to 9, star, ``#`` or A to D."""

    key: str


@dataclass(frozen=True, slots=True)
class Played:
    """All audio before the mark was played, or the mark was cleared."""

    mark: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The caller has hung up."""


PhoneEvent = Started | CallerAudio | KeyPressed | Played | Stopped

KEYS = frozenset("0123456789*#ABCD")
