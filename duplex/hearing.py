"""From the caller's samples to what happens to the floor. Pure, in sample time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from duplex.endpointing import EndpointConfig, hangover_ms
from duplex.events import SpeechEvent, SpeechStarted, TurnEnded
from duplex.pcm import Framer, Samples
from duplex.vad import FRAME_SAMPLES, SAMPLE_RATE, DetectorConfig, SpeechDetector, VadStream

_PROOF_MS = 200  # a turn is reported this long after its onset at the most


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How turns are found in the audio."""

    detector: DetectorConfig
    endpoint: EndpointConfig


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame of the caller's audio and what it shows."""

    samples: Samples
    events: tuple[SpeechEvent | TurnEnded, ...]


class Hearing:
    """One call's speech detector and endpointing.

    The words said up to a pause decide how long it may last; the ear reports them with
    `words_known` some time after the pause began, so the question is asked again then.
    """

    def __init__(self, vad: VadStream, max_turn_samples: int) -> None:
        self._vad = vad
        self._max_turn_samples = max_turn_samples
        self._framer = Framer(FRAME_SAMPLES)
        self.now_sample = 0  # of the call, after the last whole frame
        self._detection: TurnDetection | None = None  # None: the client ends its turns itself
        self._detector = SpeechDetector(DetectorConfig())  # replaced by `configure`
        self._recent: deque[Samples] = deque(maxlen=1)  # replaced by `configure`
        self._turn_from: int | None = None  # where the open turn began to sound
        self._words: str | None = None  # of the open turn up to the pause; None: not known yet

    def configure(self, detection: TurnDetection | None) -> None:
        """Find turns in another way from now on; a turn that is open is forgotten."""
        self._detection = detection
        self._detector = SpeechDetector(detection.detector if detection else DetectorConfig())
        padding_ms = detection.detector.prefix_padding_ms if detection else 0
        frames = (padding_ms + _PROOF_MS) * SAMPLE_RATE // 1000 // FRAME_SAMPLES + 1
        self._recent = deque(self._recent, maxlen=frames)
        self._turn_from = self._words = None

    def push(self, samples: Samples) -> Iterator[Heard]:
        """Take 16 kHz samples of any number; yield each frame they complete with its events."""
        for frame in self._framer.push(samples):
            self._recent.append(frame)
            self.now_sample += FRAME_SAMPLES
            probabilities = self._vad.push(frame)
            events: list[SpeechEvent | TurnEnded] = []
            if self._detection is not None:
                for event in self._detector.push(probabilities):
                    events.append(event)
                    self._note(event)
                events += self._ended(self._detection.endpoint)
            yield Heard(frame, tuple(events))

    def since(self, sample: int) -> Samples:
        """The recent audio from ``sample`` to `now_sample`, as far back as it is kept."""
        wanted = self.now_sample - sample
        return np.concatenate(self._recent)[-wanted:] if wanted > 0 else np.empty(0, np.float32)

    def words_known(self, words: str) -> list[TurnEnded]:
        """The ear has the words up to the pause: the turn may be over by now."""
        self._words = words
        return self._ended(self._detection.endpoint) if self._detection is not None else []

    def end_turn(self) -> None:
        """The turn is over; what comes next is another."""
        self._detector.end_turn()
        self._turn_from = self._words = None

    def _note(self, event: SpeechEvent) -> None:
        self._words = None  # those of the pause before are not all
        if isinstance(event, SpeechStarted):
            self._turn_from = event.at_sample

    def _ended(self, endpoint: EndpointConfig) -> list[TurnEnded]:
        """The end of the open turn, if it is over."""
        if self._turn_from is None:
            return []
        silence = self._detector.silence_samples
        too_long = self.now_sample - self._turn_from > self._max_turn_samples
        wait_samples = hangover_ms(self._words, endpoint) * SAMPLE_RATE // 1000
        over = not self._detector.is_speaking and silence >= wait_samples
        if not over and not too_long:
            return []
        self.end_turn()
        return [TurnEnded(self.now_sample - silence)]
