"""From the caller's samples to what happens to the floor. Pure, in sample time.

Speech over a reply is no turn until the judge is convinced that it interrupts, or the reply is
over. Nothing of it is reported before; then the turn begins where the speech did. So a detector
is in one of four phases, and `_OPEN` says in which of them the caller's turn is open.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import numpy as np

from duplex.audio.formats import Framer, Samples
from duplex.interruption.judge import InterruptionConfig
from duplex.interruption.words import is_hum
from duplex.turns.endpointing import (
    EndpointConfig,
    PauseSigns,
    resuming_ms,
    silence_to_end_ms,
)
from duplex.turns.events import PauseStarted, SpeechEvent, SpeechStarted, TurnEnded
from duplex.turns.interfaces import Judge, VadStream
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, TelephoneBass

_PROOF_MS = 3000  # audio is kept so long until a turn is reported; over a reply it takes proof
_LAST_MS = 8000  # and so much of it, of which the end of a turn is heard
OVER_MS = 300  # of silence, after which speech that did not interrupt is over
_MS = SAMPLE_RATE // 1000  # samples
_OWN_MS = 200  # longest time after its onset until the caller's voice is known from an echo
_FOLLOWED_MS = 2500  # of a turn that interrupts; longer, it was meant however it sounds
_ECHO_MS = 500  # a reply may be heard at the caller for so long after it is reckoned to be over


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How turns are found in the audio."""

    detector: DetectorConfig
    endpoint: EndpointConfig
    interruption: InterruptionConfig = field(default_factory=InterruptionConfig)
    is_telephone: bool = False  # whether the audio is cut to a telephone's band


class _Phase(Enum):
    IDLE = auto()  # there is no speech, or none that may be the caller's
    DOUBTFUL = auto()  # there is speech over a reply; it may be a turn
    REPORTED = auto()  # a turn is open
    FOLLOWED = auto()  # a turn that interrupted a reply is open: the judge goes on listening


_OPEN = (_Phase.REPORTED, _Phase.FOLLOWED)


@dataclass(slots=True)
class _Speech:
    """The speech that goes on. It is replaced as a whole when a turn is over, or was none."""

    phase: _Phase = _Phase.IDLE
    started: SpeechStarted | None = None  # None while IDLE
    is_fresh: bool = False  # whether it began when the reply had just begun
    counted_from: int | None = None  # where the turn began; None: where the speech ``started``
    own_from: int | None = None  # where it was first known to be the caller's own voice
    signs: PauseSigns = field(default_factory=PauseSigns)  # of the pause that lasts
    resuming_ms: int | None = None  # of silence, in place of what they say: a reply is to go on


@dataclass(frozen=True, slots=True)
class DetectedFrame:
    """One frame of the caller's audio and what it shows."""

    samples: Samples
    events: tuple[SpeechEvent, ...]


@dataclass(frozen=True, slots=True)
class Sounding:
    """A reply sounds, and speech over it may interrupt it. ``audio`` is what of it is believed
    to sound during one frame of the caller's. ``is_fresh``: it has just begun, so that speech may
    well be the rest of what it answers; then less proof is needed."""

    audio: Samples | None
    is_fresh: bool = False


class TurnDetector:
    """Finds the turns in the audio of one call.

    `feed` reports when the caller begins to speak, pauses and goes on. `find_end` says whether
    the turn is over by now; ask it after each frame, and end the turn. The words said up to a
    pause decide how long the pause may last. The ear reports them with `words_known` some time
    after the pause began, so ask again then.
    """

    def __init__(
        self,
        vad: VadStream,
        max_turn_samples: int,
        open_judge: Callable[[InterruptionConfig], Judge],
    ) -> None:
        self.now_sample = 0  # of the call, after the last whole frame
        self._vad = vad
        self._open_judge = open_judge
        self._max_turn_samples = max_turn_samples
        self._framer = Framer(FRAME_SAMPLES)
        self._speech = _Speech()
        self._reply_end = 0  # where the last reply that was spoken over ended
        self._judge = open_judge(InterruptionConfig())  # replaced by `configure`
        self._recent: deque[Samples] = deque(maxlen=1)  # replaced by `configure`
        self.configure(None)

    def configure(self, detection: TurnDetection | None) -> None:
        """Find turns in another way from now on; a turn that is open is forgotten. None: the
        client ends its turns itself."""
        self._detection = detection
        self._detector = SpeechDetector(detection.detector if detection else DetectorConfig())
        if detection is not None:
            self._judge = self._open_judge(detection.interruption)
        self._bass = TelephoneBass() if detection and detection.is_telephone else None
        padding_ms = detection.detector.prefix_padding_ms if detection else 0
        self._since_samples = (padding_ms + _PROOF_MS) * _MS
        frames = max(self._since_samples, _LAST_MS * _MS) // FRAME_SAMPLES + 1
        self._recent = deque(self._recent, maxlen=frames)
        self._speech = _Speech()

    def feed(
        self, samples: Samples, sounding: Callable[[], Sounding | None]
    ) -> Iterator[DetectedFrame]:
        """Take 16 kHz samples of any number; yield each frame they complete with its events.
        ``sounding`` is asked in each frame what sounds that might be interrupted."""
        for frame in self._framer.feed(samples):
            self._recent.append(frame)
            self.now_sample += FRAME_SAMPLES
            probabilities = self._vad.feed(self._bass.feed(frame) if self._bass else frame)
            events: list[SpeechEvent] = []
            if self._detection is not None:
                probability = 0.0
                for part in probabilities:
                    probability = max(probability, part.probability)
                shown = self._detector.feed(probabilities)
                events = self._reported(shown, frame, probability, sounding())
                if events:
                    self._speech.signs = PauseSigns()  # the words before are not all
                    self._speech.resuming_ms = None
            yield DetectedFrame(frame, tuple(events))

    def since(self, sample: int) -> Samples:
        """The recent audio from ``sample`` to `now_sample`, as far back as a turn may begin."""
        wanted = min(self.now_sample - sample, self._since_samples)
        return np.concatenate(self._recent)[-wanted:] if wanted > 0 else np.empty(0, np.float32)

    def last_of_turn(self, from_sample: int) -> Samples:
        """The last 8 s to `now_sample` of the turn that begins at ``from_sample``, or less."""
        wanted = min(self.now_sample - from_sample, _LAST_MS * _MS)
        return np.concatenate(self._recent)[-max(1, wanted) :]

    def words_known(self, words: str, *, is_asked: bool = False, resumes: bool = False) -> None:
        """The ear has the words up to the pause: the turn may be over by now, see `find_end`.
        ``is_asked``: the assistant has just asked something. ``resumes``: the words interrupt
        nothing, and the reply that they stopped is to go on."""
        if self._detection is not None:
            speech = self._speech
            speech.signs = replace(speech.signs, words=words, is_asked=is_asked)
            if resumes:
                speech.resuming_ms = resuming_ms(is_hum(words), self._detection.endpoint)

    def sound_known(self, completeness: float, paused_from: int) -> None:
        """How likely the turn sounds complete at the pause that began at ``paused_from``. It is
        forgotten if that pause is over."""
        if self._detector.paused_from == paused_from:
            self._speech.signs = replace(self._speech.signs, completeness=completeness)

    def find_end(self) -> TurnEnded | None:
        """The end of the open turn, if it is over by now. It stays open until `end_turn`."""
        speech = self._speech
        if self._detection is None or speech.started is None or speech.phase not in _OPEN:
            return None
        silence = self._detector.silence_samples
        wait_ms = speech.resuming_ms
        if wait_ms is None:
            wait_ms = silence_to_end_ms(speech.signs, self._detection.endpoint)
        is_over = self._detector.is_silent and silence >= wait_ms * _MS
        began = speech.started.at_sample if speech.counted_from is None else speech.counted_from
        is_too_long = self.now_sample - began > self._max_turn_samples
        if not (is_over or is_too_long):
            return None
        left = 0 if is_too_long else self._detection.endpoint.unfinished_ms * _MS - silence
        return TurnEnded(self.now_sample - silence, may_wait_s=max(0, left) / SAMPLE_RATE)

    def count_from(self, sample: int) -> None:
        """The open turn goes on with one that began at ``sample``: its length counts from there."""
        self._speech.counted_from = sample

    def end_turn(self) -> None:
        """The turn is over; what comes next is another."""
        self._detector.end_turn()
        self._judge.reset()
        self._speech = _Speech()

    @property
    def speaking_ms(self) -> int:
        """How long ago the open turn began to sound; 0 if there is none, or it is in a pause."""
        return self.speech_ms(self.now_sample) if self._detector.paused_from is None else 0

    def speech_ms(self, to_sample: int) -> int:
        """How long the open turn was at ``to_sample``; 0 if there is none."""
        speech = self._speech
        if speech.started is None or speech.phase not in _OPEN:
            return 0
        return (to_sample - speech.started.at_sample) * 1000 // SAMPLE_RATE

    @property
    def sounds_false(self) -> float | None:
        """How likely the open turn, as far as it was said, is no interruption by its sound;
        None if it interrupted nothing, or goes on for too long."""
        return self._judge.sounds_false if self._is_followed else None

    @property
    def _is_followed(self) -> bool:
        if self._speech.phase is not _Phase.FOLLOWED:
            return False
        return self.speech_ms(self.now_sample) <= _FOLLOWED_MS

    def _reported(
        self,
        shown: list[SpeechEvent],
        frame: Samples,
        probability: float,
        sounding: Sounding | None,
    ) -> list[SpeechEvent]:
        """The events of ``shown`` that are reported; speech over a reply may be held back."""
        speech = self._speech
        is_over_reply = sounding is not None or speech.phase is _Phase.DOUBTFUL
        if speech.phase not in _OPEN and is_over_reply:
            return self._weigh(shown, frame, probability, sounding)
        if self._is_followed:
            self._judge.hear(frame, probability, None if sounding is None else sounding.audio)
        elif sounding is None:
            self._judge.learn(frame, probability)
        for event in shown:
            if isinstance(event, SpeechStarted):
                speech.phase, speech.started = _Phase.REPORTED, event
        return shown

    def _weigh(
        self,
        shown: list[SpeechEvent],
        frame: Samples,
        probability: float,
        sounding: Sounding | None,
    ) -> list[SpeechEvent]:
        """A frame over a reply, or after one while speech over it is in doubt: report a turn if
        it is one by now, and forget it if it was none."""
        speech = self._speech
        for event in shown:
            if isinstance(event, SpeechStarted):
                speech.phase, speech.started = _Phase.DOUBTFUL, event
                speech.is_fresh = sounding is not None and sounding.is_fresh
        audio = None if sounding is None else sounding.audio
        interrupts = self._judge.hear(frame, probability, audio)
        if sounding is not None:
            self._reply_end = self.now_sample
        if not self._judge.heard_caller:
            speech.own_from = None
        elif speech.own_from is None:
            speech.own_from = self.now_sample
        if speech.started is None:
            return []
        if speech.is_fresh and self._judge.heard_caller:
            interrupts = True
        if interrupts or self._outlasts_reply():
            return self._report(speech.started, interrupts=interrupts)
        is_past = self.now_sample - self._reply_end >= _ECHO_MS * _MS
        if is_past or self._detector.silence_samples >= OVER_MS * _MS:
            self.end_turn()
        return []

    def _report(self, doubtful: SpeechStarted, *, interrupts: bool) -> list[SpeechEvent]:
        """Doubtful speech is a turn. It begins where the caller's own voice did: what sounded
        before may be our echo."""
        own_from = self._speech.own_from
        onset = self._reply_end
        if interrupts or own_from is not None:
            onset = (own_from or self.now_sample) - _OWN_MS * _MS
        late = max(0, onset - doubtful.at_sample)
        started = SpeechStarted(doubtful.at_sample + late, doubtful.from_sample + late)
        self._speech = _Speech(_Phase.FOLLOWED if interrupts else _Phase.REPORTED, started)
        paused_from = self._detector.paused_from
        if paused_from is None:
            return [started]
        return [started, PauseStarted(max(started.at_sample, paused_from))]

    def _outlasts_reply(self) -> bool:
        """Whether doubtful speech is a turn because nothing is left to be interrupted: it is the
        caller's own, or goes on when even the reply's echo must be over."""
        since_end = self.now_sample - self._reply_end
        if since_end == 0:
            return False
        is_past = since_end >= _ECHO_MS * _MS
        return self._judge.heard_caller or (is_past and self._detector.is_speaking)
