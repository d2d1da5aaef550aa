"""What the detection of turns needs: a voice activity detector, and a judge of interruptions."""

from typing import Protocol

from duplex.audio.formats import Samples
from duplex.turns.vad import VadFrame


class VadStream(Protocol):
    """One call's stream through a detector of speech."""

    def feed(self, samples: Samples) -> list[VadFrame]:
        """Take 16 kHz samples of any number; return the frames that they complete, each of
        `duplex.turns.vad.FRAME_SAMPLES`."""


class Vad(Protocol):
    """A detector of speech, shared by all calls; its streams hold the state."""

    def open(self) -> VadStream:
        """Begin the stream of one call."""


class Judge(Protocol):
    """Says whether a caller who makes a sound during a reply interrupts it; one call's state.
    See `duplex.interruption.judge.InterruptionJudge`."""

    def learn(self, samples: Samples, probability: float) -> None:
        """Take one VAD frame of the caller while no reply sounds."""

    def hear(
        self,
        samples: Samples,
        probability: float,
        reply: Samples | None,
        /,
    ) -> bool:
        """Take one while a reply sounds, while it is in doubt whether speech over it interrupts
        it, or in the turn that did. ``reply`` is what of it is believed to sound, None if
        nothing or not known. Whether there is enough evidence by now."""

    @property
    def heard_caller(self) -> bool:
        """Whether some of the speech of the last second, since the last `reset`, was the caller's
        own, not our echo."""

    @property
    def sounds_false(self) -> float | None:
        """How likely all that was said since the last `reset` is no interruption, by its sound;
        None if that is not known."""

    def reset(self) -> None:
        """The speech that was judged is over."""
