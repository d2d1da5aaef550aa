"""What happens to the floor of a call. Frozen and flat; times are 16 kHz samples of the call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak at ``at_sample``; the turn's audio begins at ``from_sample``,
    which is earlier by the prefix padding."""

    at_sample: int
    from_sample: int


@dataclass(frozen=True, slots=True)
class BufferOpened:
    """The client sent the first audio of a turn that it will end itself."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class PauseStarted:
    """The caller has been silent since ``at_sample``, the first silent sample.

    Reported after a short silence: the moment to speculate, not the end of the turn.
    """

    at_sample: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """After a pause, and before the turn was ended, speech goes on from ``at_sample``."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The endpointing policy, the limit on a turn's length or the client closed it.

    ``may_wait_s``: until the caller has been silent for so long that nobody would doubt it. While
    there is nothing to be heard of a reply yet, the turn may stay open until then.
    """

    at_sample: int
    may_wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnDiscarded:
    """The client cleared the input buffer, or changed who detects turns."""

    at_sample: int


SpeechEvent = SpeechStarted | PauseStarted | SpeechResumed
FloorEvent = SpeechEvent | BufferOpened | TurnEnded | TurnDiscarded
