"""From probabilities of speech to the events of a turn."""

from collections.abc import Iterable
from dataclasses import dataclass

from duplex.turns.events import PauseStarted, SpeechEvent, SpeechResumed, SpeechStarted
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, VadFrame


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """How probabilities become speech.

    Speech begins at a frame of at least ``threshold`` and lasts until one falls below
    ``threshold - hysteresis`` and none reaches ``threshold`` again.
    """

    threshold: float = 0.5  # OpenAI's server_vad.threshold
    hysteresis: float = 0.15
    min_speech_ms: int = 64  # shorter is a click
    pause_ms: int = 96
    prefix_padding_ms: int = 300  # OpenAI's server_vad.prefix_padding_ms

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if not 0 <= self.hysteresis < self.threshold:
            raise ValueError(f"hysteresis must be in [0, threshold), got {self.hysteresis}")
        for name in ("min_speech_ms", "pause_ms", "prefix_padding_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


class SpeechDetector:
    """Turns the frames of one call into events; pure, and all its times are sample times.

    ``Started (Pause Resumed)* Pause`` is one turn, over when `end_turn` is called; after that
    the next speech is a new `SpeechStarted`.
    """

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config
        self._min_speech_samples = config.min_speech_ms * SAMPLE_RATE // 1000
        self._pause_samples = config.pause_ms * SAMPLE_RATE // 1000
        self._prefix_samples = config.prefix_padding_ms * SAMPLE_RATE // 1000
        self._now = 0  # end of the last frame
        self._in_turn = False
        self._paused = False
        self._voiced_from: int | None = None  # set while speech may be beginning
        self._silent_from: int | None = None  # set while silence may be beginning, or lasts
        self._turn_end = 0  # where the last turn ended; no prefix reaches before it

    @property
    def silence_samples(self) -> int:
        """How long the caller has been silent in the open turn; 0 while there is speech.

        It stands still while a sound is too short to tell whether speech has resumed.
        """
        if not self._in_turn or self._silent_from is None:
            return 0
        end = self._now if self._voiced_from is None else self._voiced_from
        return end - self._silent_from

    @property
    def paused_from(self) -> int | None:
        """Where the silence of the pause began; None unless the open turn is in one."""
        return self._silent_from if self._paused else None

    @property
    def is_speaking(self) -> bool:
        """Whether a turn is open and not in a pause."""
        return self._in_turn and not self._paused

    @property
    def is_silent(self) -> bool:
        """Whether the open turn is in a pause, and no speech may just be beginning."""
        return self._paused and self._voiced_from is None

    def feed(self, frames: Iterable[VadFrame]) -> list[SpeechEvent]:
        """Take frames in order; return what they show."""
        shown: list[SpeechEvent] = []
        for frame in frames:
            self._now = frame.at_sample + FRAME_SAMPLES
            if self._in_turn and not self._paused:
                shown += self._while_speaking(frame)
            else:
                shown += self._while_silent(frame)
        return shown

    def end_turn(self) -> None:
        """The turn is over, for whatever reason: the next speech starts a new one."""
        self._in_turn = self._paused = False
        self._voiced_from = self._silent_from = None
        self._turn_end = self._now

    def _while_speaking(self, frame: VadFrame) -> list[SpeechEvent]:
        if frame.probability >= self._config.threshold:
            self._silent_from = None
            return []
        if self._silent_from is None:
            if frame.probability >= self._config.threshold - self._config.hysteresis:
                return []
            self._silent_from = frame.at_sample
        if self._now - self._silent_from < self._pause_samples:
            return []
        self._paused = True
        self._voiced_from = None
        return [PauseStarted(self._silent_from)]

    def _while_silent(self, frame: VadFrame) -> list[SpeechEvent]:
        config = self._config
        if self._voiced_from is None:
            if frame.probability < config.threshold:
                return []
            self._voiced_from = frame.at_sample
        elif frame.probability < config.threshold - config.hysteresis:
            self._voiced_from = None
            return []
        if self._now - self._voiced_from < self._min_speech_samples:
            return []
        at_sample = self._voiced_from
        self._voiced_from = self._silent_from = None
        if self._in_turn:
            self._paused = False
            return [SpeechResumed(at_sample)]
        self._in_turn = True
        prefix = at_sample - self._prefix_samples
        return [SpeechStarted(at_sample, max(prefix, min(self._turn_end, at_sample)))]
