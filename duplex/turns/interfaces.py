"""What the detection of turns needs: a voice activity detector, and a judge of interruptions."""

from typing import TYPE_CHECKING, Protocol

from duplex.audio.formats import Samples

if TYPE_CHECKING:  # the module loads onnxruntime
    from duplex.turns.vad import VadFrame


class VadStream(Protocol):
    """One call's stream through a detector of speech."""

    def feed(self, samples: Samples) -> "list[VadFrame]":
        """Take the next ``samples``: ``[N]``, 16 kHz mono in [-1, 1], any N. Return the frames
        that they complete, in order, each of `duplex.turns.vad.FRAME_SAMPLES` (32 ms).

        It runs in the event loop, 31 times a second for each call, so it must take well under a
        millisecond and must not block. An exception ends the call.
        """


class Vad(Protocol):
    """A detector of speech, shared by all calls; its streams hold the state."""

    def open(self) -> VadStream:
        """Begin the stream of one call. Runs in the event loop."""


class Judge(Protocol):
    """Says whether a caller who makes a sound during a reply interrupts it; one call's state.
    See `duplex.interruption.judge.InterruptionJudge`."""

    def learn(self, samples: Samples, probability: float) -> None:
        """Take one VAD frame of the caller. Called while no reply sounds."""

    def hear(
        self,
        samples: Samples,
        probability: float,
        reply: Samples | None,
        /,
    ) -> bool:
        """Take one VAD frame of the caller. Called while a reply sounds, while it is in doubt
        whether speech over it is a barge-in, and in the turn that was one. ``reply`` is the
        part of the reply that is believed to sound meanwhile; None if there is none or it is not
        known. Returns whether there is enough evidence of a barge-in by now."""

    @property
    def heard_caller(self) -> bool:
        """Whether some speech of the last second, since the last `reset`, was the caller's own
        and no echo of ours."""

    @property
    def sounds_false(self) -> float | None:
        """The probability, by its sound, that the speech since the last `reset` is no barge-in;
        None if it is not known."""

    def reset(self) -> None:
        """Forget the speech so far. Called when the speech that was judged is over."""
