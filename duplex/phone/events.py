"""What a phone line tells, whichever provider it is of, and what it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from duplex.audio.formats import ALAW, PCM16, ULAW, Codec

_CODECS = {"pcmu": ULAW, "pcma": ALAW, "pcm16": PCM16}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the line's audio is written: mono; pcm16 is little-endian."""

    name: Literal["pcmu", "pcma", "pcm16"]
    rate_hz: int

    @property
    def codec(self) -> Codec:
        """Its reader and writer."""
        return _CODECS[self.name]

    @property
    def bytes_per_sample(self) -> int:
        """Of one sample."""
        return self.codec.bytes_per_sample

    @property
    def silence(self) -> bytes:
        """One silent sample."""
        return {"pcmu": b"\xff", "pcma": b"\xd5", "pcm16": b"\0\0"}[self.name]


PCMU = Encoding("pcmu", 8_000)
PCMA = Encoding("pcma", 8_000)


# What comes from the line.


@dataclass(frozen=True, slots=True)
class Started:
    """The call begins. ``parameters`` are what its maker sent along."""

    call_id: str  # the provider's
    account_id: str  # empty if the provider tells none
    encoding: Encoding
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Audio of the caller, in the line's encoding."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """One key of the telephone: 0 to 9, star, ``#`` or A to D."""

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
