"""When each stage of a turn was reached. Monotonic time, for measuring only, never for deciding."""

from collections.abc import Callable

Clock = Callable[[], float]  # monotonic seconds

STAGES = (
    "pause",  # the detector reported the caller's silence
    "ear",  # the exact transcript was ready
    "first_token",  # the brain decoded its first token
    "first_clause",  # the segmenter cut the first segment for the voice
    "first_audio",  # its first audio was synthesised
    "endpoint",  # the turn was taken to be over
    "released",  # the first audio was handed to the connection
)


class TurnMarks:
    """The stages of one turn, as milliseconds after the caller's last speech sample.

    A speculated reply reaches stages before the endpoint: that is what it is for.
    """

    def __init__(self, clock: Clock, speech_end_s: float) -> None:
        self._clock = clock
        self._zero = speech_end_s
        self._reached: dict[str, float] = {}

    def reach(self, stage: str) -> None:
        """Note that ``stage`` was reached now; only the first time counts."""
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}")
        self._reached.setdefault(stage, self._clock())

    def as_ms(self) -> dict[str, float]:
        """Stage -> ms after the last speech sample, in the order of `STAGES`."""
        return {
            stage: round((self._reached[stage] - self._zero) * 1000, 1)
            for stage in STAGES
            if stage in self._reached
        }
