"""From the caller's samples to what happens to the floor. Pure, in sample time."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from duplex.audio.formats import Framer, Samples
from duplex.interruption.judge import InterruptionConfig
from duplex.interruption.words import is_hum
from duplex.turns.endpointing import EndpointConfig, resuming_ms, silence_to_end_ms
from duplex.turns.events import PauseStarted, SpeechEvent, SpeechStarted, TurnEnded
from duplex.turns.interfaces import Judge, VadStream
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, TelephoneBass

_PROOF_MS = 3000  # audio is kept so long until a turn is reported; over an answer it takes proof
OVER_MS = 300  # of silence, after which speech that did not interrupt is over
_OWN_MS = 200  # the caller's own voice is told from an echo so long after it began at the most
_FOLLOWED_MS = 2500  # of a turn that interrupts; longer, it was meant however it sounds
_ECHO_MS = 500  # an answer may be heard at the caller for so long after it is reckoned to be over


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How turns are found in the audio."""

    detector: DetectorConfig
    endpoint: EndpointConfig
    interruption: InterruptionConfig = field(default_factory=InterruptionConfig)
    is_telephone: bool = False  # whether the audio is cut to a telephone's band


@dataclass(frozen=True, slots=True)
class DetectedFrame:
    """One frame of the caller's audio and what it shows."""

    samples: Samples
    events: tuple[SpeechEvent | TurnEnded, ...]


@dataclass(frozen=True, slots=True)
class Sounding:
    """An answer sounds, and speech over it may interrupt it. ``audio`` is what of it is believed
    to sound during one frame of the caller's."""

    audio: Samples | None


class TurnDetector:
    """One call's speech detector and endpointing.

    Speech over an answer is no turn until the judge is convinced that it interrupts, or the
    answer is over. Nothing is told of it before; then the turn begins where the speech did.

    The words said up to a pause decide how long it may last; the ear reports them with
    `words_known` some time after the pause began, so the question is asked again then.
    """

    def __init__(
        self,
        vad: VadStream,
        max_turn_samples: int,
        open_judge: Callable[[InterruptionConfig], Judge],
    ) -> None:
        self._vad = vad
        self._open_judge = open_judge
        self._max_turn_samples = max_turn_samples
        self._framer = Framer(FRAME_SAMPLES)
        self.now_sample = 0  # of the call, after the last whole frame
        self._detection: TurnDetection | None = None  # None: the client ends its turns itself
        self._detector = SpeechDetector(DetectorConfig())  # replaced by `configure`
        self._judge = open_judge(InterruptionConfig())  # replaced by `configure`
        self._bass: TelephoneBass | None = None  # of a telephone; set by `configure`
        self._doubtful: SpeechStarted | None = None  # speech over an answer; not told yet
        self._own_from: int | None = None  # where it was told to be the caller's own
        self._answer_end = 0  # where the last answer that was spoken over ended
        self._recent: deque[Samples] = deque(maxlen=1)  # replaced by `configure`
        self._turn_from: int | None = None  # where the open turn began to sound
        self._cut_in = False  # whether the open turn interrupted an answer
        self._wait_ms: int | None = None  # of silence; None: the words before it are not known

    def configure(self, detection: TurnDetection | None) -> None:
        """Find turns in another way from now on; a turn that is open is forgotten."""
        self._detection = detection
        self._detector = SpeechDetector(detection.detector if detection else DetectorConfig())
        if detection is not None:
            self._judge = self._open_judge(detection.interruption)
        self._bass = TelephoneBass() if detection and detection.is_telephone else None
        self._doubtful = self._own_from = None
        padding_ms = detection.detector.prefix_padding_ms if detection else 0
        frames = (padding_ms + _PROOF_MS) * SAMPLE_RATE // 1000 // FRAME_SAMPLES + 1
        self._recent = deque(self._recent, maxlen=frames)
        self._turn_from = self._wait_ms = None
        self._cut_in = False

    def feed(
        self, samples: Samples, sounding: Callable[[], Sounding | None]
    ) -> Iterator[DetectedFrame]:
        """Take 16 kHz samples of any number; yield each frame they complete with its events.
        ``sounding`` is asked in each frame what sounds that might be interrupted."""
        for frame in self._framer.feed(samples):
            self._recent.append(frame)
            self.now_sample += FRAME_SAMPLES
            probabilities = self._vad.feed(self._bass.feed(frame) if self._bass else frame)
            events: list[SpeechEvent | TurnEnded] = []
            if self._detection is not None:
                probability = max((part.probability for part in probabilities), default=0.0)
                shown = self._detector.feed(probabilities)
                for event in self._proven(shown, frame, probability, sounding()):
                    events.append(event)
                    self._note(event)
                events += self._ended(self._detection.endpoint)
            yield DetectedFrame(frame, tuple(events))

    def since(self, sample: int) -> Samples:
        """The recent audio from ``sample`` to `now_sample`, as far back as it is kept."""
        wanted = self.now_sample - sample
        return np.concatenate(self._recent)[-wanted:] if wanted > 0 else np.empty(0, np.float32)

    def words_known(self, words: str, *, resumes: bool = False) -> list[TurnEnded]:
        """The ear has the words up to the pause: the turn may be over by now. ``resumes``: they
        interrupt nothing, and the answer that they stopped is to go on."""
        if self._detection is None:
            return []
        endpoint = self._detection.endpoint
        if resumes:
            self._wait_ms = resuming_ms(is_hum(words), endpoint)
        else:
            self._wait_ms = silence_to_end_ms(words, endpoint)
        return self._ended(endpoint)

    def end_turn(self) -> None:
        """The turn is over; what comes next is another."""
        self._detector.end_turn()
        self._judge.reset()
        self._turn_from = self._wait_ms = self._doubtful = self._own_from = None
        self._cut_in = False

    @property
    def speaking_ms(self) -> int:
        """How long ago the open turn began to sound; 0 if there is none, or it is in a pause."""
        return self.speech_ms(self.now_sample) if self._detector.is_speaking else 0

    def speech_ms(self, to_sample: int) -> int:
        """How long the open turn was at ``to_sample``."""
        start = to_sample if self._turn_from is None else self._turn_from
        return (to_sample - start) * 1000 // SAMPLE_RATE

    @property
    def sounds_false(self) -> float | None:
        """How likely the open turn, as far as it was said, is no interruption by its sound;
        None if it interrupted nothing, or goes on for too long."""
        return self._judge.sounds_false if self._is_followed else None

    @property
    def _is_followed(self) -> bool:
        """Whether the judge hears what the caller says in the turn that they interrupted with."""
        return self._cut_in and self.speech_ms(self.now_sample) <= _FOLLOWED_MS

    def _proven(
        self,
        shown: list[SpeechEvent],
        frame: Samples,
        probability: float,
        sounding: Sounding | None,
    ) -> list[SpeechEvent]:
        """Of what the detector has shown, what is told."""
        audio = None if sounding is None else sounding.audio
        is_idle = sounding is None and self._doubtful is None
        if self._is_followed:
            self._judge.hear(frame, probability, audio)
        elif is_idle:
            self._judge.learn(frame, probability)
        if self._turn_from is not None or is_idle:
            return shown
        for event in shown:
            if isinstance(event, SpeechStarted):
                self._doubtful = event
        is_meant = self._judge.hear(frame, probability, audio)
        if sounding is not None:
            self._answer_end = self.now_sample
        if not self._judge.heard_caller:
            self._own_from = None
        elif self._own_from is None:
            self._own_from = self.now_sample
        doubtful = self._doubtful
        if doubtful is None:
            return []
        if is_meant or self._outlasts_answer():
            return self._told(doubtful, is_meant)
        is_past = self.now_sample - self._answer_end >= _samples(_ECHO_MS)
        if is_past or self._detector.silence_samples >= _samples(OVER_MS):
            self.end_turn()
        return []

    def _told(self, doubtful: SpeechStarted, is_meant: bool) -> list[SpeechEvent]:
        """Doubtful speech is a turn. It begins where the caller's own voice did: what sounded
        before may be our echo."""
        onset = self._answer_end
        if is_meant or self._own_from is not None:
            onset = (self._own_from or self.now_sample) - _samples(_OWN_MS)
        late = max(0, onset - doubtful.at_sample)
        self._doubtful = self._own_from = None
        self._cut_in = is_meant
        started = SpeechStarted(doubtful.at_sample + late, doubtful.from_sample + late)
        paused_from = self._detector.paused_from
        if paused_from is None:
            return [started]
        return [started, PauseStarted(max(started.at_sample, paused_from))]

    def _outlasts_answer(self) -> bool:
        """Whether doubtful speech is a turn because nothing is left to be interrupted: it is the
        caller's own, or goes on when even the answer's echo must be over."""
        since_end = self.now_sample - self._answer_end
        if since_end == 0:
            return False
        is_past = since_end >= _samples(_ECHO_MS)
        return self._judge.heard_caller or (is_past and self._detector.is_speaking)

    def _note(self, event: SpeechEvent) -> None:
        self._wait_ms = None  # the words before it are not all
        if isinstance(event, SpeechStarted):
            self._turn_from = event.at_sample

    def _ended(self, endpoint: EndpointConfig) -> list[TurnEnded]:
        """The end of the open turn, if it is over."""
        if self._turn_from is None:
            return []
        silence = self._detector.silence_samples
        too_long = self.now_sample - self._turn_from > self._max_turn_samples
        wait_ms = silence_to_end_ms(None, endpoint) if self._wait_ms is None else self._wait_ms
        over = not self._detector.is_speaking and silence >= _samples(wait_ms)
        if not over and not too_long:
            return []
        self.end_turn()
        return [TurnEnded(self.now_sample - silence)]


def _samples(duration_ms: int) -> int:
    return duration_ms * SAMPLE_RATE // 1000
