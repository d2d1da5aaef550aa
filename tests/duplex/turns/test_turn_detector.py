"""Speech over an answer, frame by frame: when it is told, and from where."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from duplex.audio.formats import Samples
from duplex.config import Config
from duplex.dialogue.session import turn_detection
from duplex.protocol.session_config import (
    AudioConfig,
    AudioFormat,
    AudioInput,
    AudioOutput,
    Pcm,
    Pcma,
    Pcmu,
    SessionConfig,
)
from duplex.turns.endpointing import EndpointConfig
from duplex.turns.events import PauseStarted, SpeechEvent, SpeechResumed, SpeechStarted, TurnEnded
from duplex.turns.speech_detector import DetectorConfig
from duplex.turns.turn_detector import Sounding, TurnDetection, TurnDetector
from duplex.turns.vad import FRAME_SAMPLES, VadFrame

FRAME_MS = 32
ANSWER = Sounding(np.zeros(FRAME_SAMPLES, np.float32))
Told = list[SpeechEvent | TurnEnded]


class LoudVad:
    """Loud is speech."""

    def __init__(self) -> None:
        self._at = 0

    def feed(self, samples: Samples) -> list[VadFrame]:
        self._at += FRAME_SAMPLES
        return [VadFrame(self._at - FRAME_SAMPLES, float(np.abs(samples).max() > 0.1))]


@dataclass
class Judge:
    """Is convinced, or knows whose speech it is, as a test says."""

    convinced: bool = False
    heard_caller: bool = True
    sounds_false: float | None = None
    resets: int = 0
    learnt: int = 0
    heard: list[Samples | None] = field(default_factory=list)

    def learn(self, samples: Samples, probability: float) -> None:
        self.learnt += 1

    def hear(self, samples: Samples, probability: float, answer: Samples | None) -> bool:
        self.heard.append(answer)
        return self.convinced and probability > 0.5

    def reset(self) -> None:
        self.resets += 1


class Call:
    """Feeds frames and keeps what is told."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.hearing = TurnDetector(LoudVad(), 10**9, lambda _: self.judge)  # type: ignore[arg-type]
        self.hearing.configure(
            TurnDetection(DetectorConfig(pause_ms=32), EndpointConfig(300, 1000))
        )
        self.told: Told = []

    def hear(self, ms: int, level: float, sounding: Sounding | None) -> None:
        for _ in range(ms // FRAME_MS):
            frame = np.full(FRAME_SAMPLES, level, np.float32)
            for heard in self.hearing.feed(frame, lambda: sounding):
                self.told += heard.events
                if (ended := self.hearing.find_end()) is not None:
                    self.hearing.end_turn()
                    self.told.append(ended)


@pytest.fixture
def call() -> Call:
    call = Call()
    call.hear(640, 0.0, None)
    assert call.judge.learnt == 20
    return call


def test_where_nothing_sounds_speech_is_told_at_once(call: Call) -> None:
    call.hear(64, 0.5, None)
    assert call.told == [SpeechStarted(640 * 16, 340 * 16)]
    assert not call.judge.heard


def test_over_an_answer_nothing_is_told_until_the_judge_is_convinced(call: Call) -> None:
    call.hear(640, 0.0, ANSWER)
    call.hear(1280, 0.5, ANSWER)
    assert call.told == []
    call.judge.convinced = True
    call.hear(32, 0.5, ANSWER)
    onset = 1280 * 16
    assert call.told == [SpeechStarted(onset, onset - 300 * 16)]
    audio = call.hearing.since(onset - 300 * 16)
    assert len(audio) == (300 + 1280 + 32) * 16  # nothing of it is lost
    assert not audio[: 300 * 16 - 1].any()
    assert audio[300 * 16 :].all()


def test_a_sound_that_convinces_nobody_is_forgotten_after_a_silence(call: Call) -> None:
    call.hear(192, 0.5, ANSWER)
    call.hear(640, 0.0, ANSWER)
    assert call.told == []
    assert call.judge.resets == 1
    call.judge.convinced = True
    call.hear(64, 0.5, ANSWER)
    onset = (640 + 192 + 640) * 16
    assert call.told == [SpeechStarted(onset, onset - 300 * 16)]


def test_syllables_are_judged_together(call: Call) -> None:
    for _ in range(3):
        call.hear(96, 0.5, ANSWER)
        call.hear(192, 0.0, ANSWER)
    assert call.judge.resets == 0
    call.judge.convinced = True
    call.hear(64, 0.5, ANSWER)
    began, paused, resumed = call.told
    assert began == SpeechStarted(640 * 16, 340 * 16)
    assert paused == PauseStarted((640 + 2 * 288 + 96) * 16)
    assert resumed == SpeechResumed((640 + 3 * 288) * 16)


def test_a_word_over_the_end_of_the_answer_is_a_turn_with_its_pause(call: Call) -> None:
    call.hear(192, 0.5, ANSWER)
    call.hear(64, 0.0, ANSWER)
    call.hear(32, 0.0, None)
    assert call.told == [SpeechStarted(640 * 16, 340 * 16), PauseStarted(832 * 16)]
    call.hearing.words_known("Yes.")
    call.hear(320, 0.0, None)
    assert isinstance(ended := call.told[-1], TurnEnded)
    assert ended.at_sample == 832 * 16
    assert ended.may_wait_s == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(("words", "waits_ms"), [("Mm-hm.", 320), ("", 320), ("Okay.", 480)])
def test_what_may_lead_up_to_an_objection_is_waited_for_longer(
    call: Call, words: str, waits_ms: int
) -> None:
    call.judge.convinced = True
    call.hear(320, 0.5, ANSWER)
    call.hear(256, 0.0, ANSWER)
    call.hearing.words_known(words, resumes=True)
    call.hear(waits_ms - 256 - 32, 0.0, ANSWER)
    assert isinstance(call.told[-1], PauseStarted)
    call.hear(32, 0.0, ANSWER)
    assert isinstance(call.told[-1], TurnEnded)


def test_our_own_echo_at_the_end_of_the_answer_is_no_turn(call: Call) -> None:
    call.judge.heard_caller = False
    call.hear(1920, 0.5, ANSWER)
    call.hear(384, 0.5, None)  # it comes late
    call.hear(1280, 0.0, None)
    assert call.told == []
    call.hear(64, 0.5, None)
    assert [type(event) for event in call.told] == [SpeechStarted]


def test_speech_that_goes_on_when_no_echo_can_is_a_turn_from_the_answers_end(call: Call) -> None:
    call.judge.heard_caller = False
    call.hear(320, 0.5, ANSWER)
    call.hear(480, 0.5, None)
    assert call.told == []
    call.hear(32, 0.5, None)
    assert call.told == [SpeechStarted(960 * 16, 660 * 16)]


def test_a_voice_over_our_echo_is_a_turn_without_the_echo_before_it(call: Call) -> None:
    call.judge.heard_caller = False
    call.hear(1920, 0.5, ANSWER)
    call.judge.heard_caller = True
    call.hear(320, 0.5, ANSWER)
    call.judge.convinced = True
    call.hear(32, 0.5, ANSWER)
    own = (640 + 1920 + 32 - 200) * 16  # told when it has lasted a while
    assert call.told == [SpeechStarted(own, own - 300 * 16)]


def test_very_long_doubt_keeps_the_last_three_seconds(call: Call) -> None:
    call.hear(9600, 0.5, ANSWER)
    call.judge.convinced = True
    call.hear(32, 0.5, ANSWER)
    (started,) = call.told
    assert isinstance(started, SpeechStarted)
    assert 3.0 * 16_000 <= len(call.hearing.since(started.from_sample)) <= 3.4 * 16_000


def test_an_open_turn_is_not_judged(call: Call) -> None:
    call.hear(96, 0.5, None)
    call.hear(320, 0.5, ANSWER)
    assert not call.judge.heard


def test_clearing_forgets_doubtful_speech(call: Call) -> None:
    call.hear(192, 0.5, ANSWER)
    call.hearing.end_turn()
    call.hear(64, 0.0, None)
    assert call.told == []


def test_the_judge_hears_the_rest_of_what_cut_in_and_says_how_it_sounded(call: Call) -> None:
    call.judge.sounds_false = 0.8
    assert call.hearing.sounds_false is None
    call.judge.convinced = True
    call.hear(96, 0.5, ANSWER)
    heard, learnt = len(call.judge.heard), call.judge.learnt
    call.hear(320, 0.5, None)
    assert (len(call.judge.heard), call.judge.learnt) == (heard + 10, learnt)
    assert call.judge.resets == 0
    call.hear(224, 0.0, None)
    assert call.hearing.sounds_false == 0.8
    call.hear(1280, 0.0, None)
    assert isinstance(call.told[-1], TurnEnded)
    assert call.judge.resets == 1
    assert call.hearing.sounds_false is None


def test_a_long_turn_is_not_judged_by_its_sound(call: Call) -> None:
    call.judge.sounds_false, call.judge.convinced = 0.8, True
    call.hear(96, 0.5, ANSWER)
    learnt = call.judge.learnt
    call.hear(2560, 0.5, None)
    assert call.hearing.sounds_false is None
    assert call.judge.learnt > learnt


def test_a_turn_that_interrupts_nothing_is_not_judged_by_its_sound(call: Call) -> None:
    call.judge.sounds_false = 0.8
    call.hear(320, 0.5, None)
    assert call.hearing.sounds_false is None
    assert call.judge.heard == []


class KeepingVad(LoudVad):
    """Remembers what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Samples] = []

    def feed(self, samples: Samples) -> list[VadFrame]:
        self.heard.append(samples)
        return super().feed(samples)


@pytest.mark.parametrize("is_telephone", [False, True])
def test_only_the_detector_hears_a_telephone_with_more_bass(is_telephone: bool) -> None:
    vad = KeepingVad()
    hearing = TurnDetector(vad, 10**9, lambda _: Judge())  # type: ignore[arg-type]
    detection = TurnDetection(DetectorConfig(), EndpointConfig(), is_telephone=is_telephone)
    hearing.configure(detection)
    said = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * FRAME_SAMPLES).astype(np.float32)
    given = np.concatenate([heard.samples for heard in hearing.feed(said, lambda: None)])
    np.testing.assert_array_equal(given, said)
    same = np.array_equal(np.concatenate(vad.heard), said)
    assert same is not is_telephone


@pytest.mark.parametrize(
    ("audio_format", "is_telephone"), [(Pcm(), False), (Pcmu(), True), (Pcma(), True)]
)
def test_who_sends_g711_is_on_the_telephone(audio_format: AudioFormat, is_telephone: bool) -> None:
    audio = AudioConfig(AudioInput(format=audio_format), AudioOutput(voice="v"))
    detection = turn_detection(SessionConfig(model="m", instructions="", audio=audio), Config())
    assert detection is not None
    assert detection.is_telephone is is_telephone


def test_a_sound_that_is_complete_ends_the_turn_sooner_and_only_at_its_own_pause(
    call: Call,
) -> None:
    call.hear(640, 0.5, None)
    call.hear(96, 0.0, None)
    (first,) = [event for event in call.told if isinstance(event, PauseStarted)]
    call.hear(320, 0.5, None)
    call.hear(96, 0.0, None)
    call.hearing.words_known("Is it noon?")
    call.hearing.sound_known(1.0, first.at_sample)  # too late: that pause is over
    call.hear(128, 0.0, None)
    assert not any(isinstance(event, TurnEnded) for event in call.told)
    call.hearing.sound_known(1.0, call.told[-1].at_sample)
    assert call.hearing.find_end() is not None


def test_the_sound_of_a_turn_is_no_more_than_its_own(call: Call) -> None:
    call.hear(640, 0.5, None)
    (started,) = call.told
    assert isinstance(started, SpeechStarted)
    heard = call.hearing.last_of_turn(started.at_sample)
    assert len(heard) == call.hearing.now_sample - started.at_sample
    call.hear(9600, 0.5, None)
    assert len(call.hearing.last_of_turn(started.at_sample)) == 8 * 16_000
    assert len(call.hearing.since(0)) < 4 * 16_000
