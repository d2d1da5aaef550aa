from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.audio.formats import Samples
from duplex.turns.events import PauseStarted, SpeechEvent, SpeechResumed, SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import (
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SileroStream,
    SileroVad,
    TelephoneBass,
    VadFrame,
)

F = FRAME_SAMPLES


def frames(*probabilities: float, start: int = 0) -> list[VadFrame]:
    return [VadFrame((start + i) * F, p) for i, p in enumerate(probabilities)]


def detect(*probabilities: float, **config: float) -> list[SpeechEvent]:
    detector = SpeechDetector(DetectorConfig(**{"prefix_padding_ms": 0, **config}))  # type: ignore[arg-type]
    return detector.feed(frames(*probabilities))


def test_speech_a_pause_and_speech_again() -> None:
    events = detect(0, 0, 0.9, 0.9, 0.9, 0, 0, 0, 0, 0.9, 0.9, 0, 0, 0, 0)
    assert events == [
        SpeechStarted(2 * F, 2 * F),
        PauseStarted(5 * F),
        SpeechResumed(9 * F),
        PauseStarted(11 * F),
    ]


def test_a_click_is_neither_speech_nor_its_resumption() -> None:
    assert detect(0, 1, 0, 0, 1, 0) == []
    assert detect(1, 1, 0, 0, 0, 1, 0, 0, 1, 0) == [SpeechStarted(0, 0), PauseStarted(2 * F)]


def test_a_gap_shorter_than_a_pause_is_none() -> None:
    assert detect(1, 1, 0, 0, 1, 0, 0, 1) == [SpeechStarted(0, 0)]


def test_between_the_thresholds_nothing_changes() -> None:
    assert detect(0.4, 0.49, 0.4) == []
    assert detect(1, 1, 0.4, 0.4, 0.4, 0.4, 0.36) == [SpeechStarted(0, 0)]
    # Once silence may have begun, only a frame above the upper threshold takes it back.
    assert detect(1, 1, 0.3, 0.4, 0.4) == [SpeechStarted(0, 0), PauseStarted(2 * F)]
    assert detect(0.5, 0.4) == [SpeechStarted(0, 0)]


def test_the_pause_is_told_after_as_long_as_configured() -> None:
    for pause_ms, silent_frames in ((0, 1), (32, 1), (33, 2), (64, 2), (100, 4)):
        quiet = [0.0] * silent_frames
        assert PauseStarted(2 * F) in detect(1, 1, *quiet, pause_ms=pause_ms)
        assert PauseStarted(2 * F) not in detect(1, 1, *quiet[1:], pause_ms=pause_ms)


def test_the_prefix_reaches_back_but_not_into_the_turn_before() -> None:
    detector = SpeechDetector(DetectorConfig(prefix_padding_ms=100))
    assert detector.feed(frames(1, 1)) == [SpeechStarted(0, 0)]
    detector.feed(frames(0, 0, 0, start=2))
    detector.end_turn()
    assert detector.feed(frames(0, 1, 1, start=5)) == [SpeechStarted(6 * F, 5 * F)]
    detector.end_turn()
    later = detector.feed(frames(*[0] * 10, 1, 1, start=8))
    assert later == [SpeechStarted(18 * F, 18 * F - 1600)]


def test_silence_is_counted_from_its_first_sample_and_waits_for_a_sound_to_be_told() -> None:
    detector = SpeechDetector(DetectorConfig())
    silence = []
    for frame in frames(0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0):
        detector.feed([frame])
        silence.append(detector.silence_samples // F)
    assert silence == [0, 0, 0, 0, 1, 2, 3, 4, 4, 6, 6, 0, 1]


def test_ending_the_turn_makes_the_next_speech_a_new_turn() -> None:
    detector = SpeechDetector(DetectorConfig(prefix_padding_ms=0))
    detector.feed(frames(1, 1, 1))
    assert detector.is_speaking
    detector.end_turn()
    assert not detector.is_speaking
    assert detector.silence_samples == 0
    assert detector.feed(frames(1, 1, start=3)) == [SpeechStarted(3 * F, 3 * F)]


@given(st.lists(st.floats(0, 1), max_size=80), st.data())
def test_events_keep_their_order_whatever_is_heard(
    probabilities: list[float], data: st.DataObject
) -> None:
    detector = SpeechDetector(DetectorConfig())
    follows = {
        None: {SpeechStarted},
        SpeechStarted: {PauseStarted},
        PauseStarted: {SpeechResumed},
        SpeechResumed: {PauseStarted},
    }
    last: type[SpeechEvent] | None = None
    at_sample = -1
    for frame in frames(*probabilities):
        for event in detector.feed([frame]):
            assert type(event) in follows[last]  # type: ignore[operator]
            assert at_sample < event.at_sample <= frame.at_sample
            last, at_sample = type(event), event.at_sample
        assert (detector.silence_samples >= 96 * 16) >= (last is PauseStarted)
        assert detector.is_speaking == (last in (SpeechStarted, SpeechResumed))
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            detector.end_turn()
            last = None


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": 1.1}, {"hysteresis": 0.5}, {"pause_ms": -1}]
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DetectorConfig(**wrong)  # type: ignore[arg-type]


class Listener:
    """In silero's place: says how loud a frame is and notes all that it was shown."""

    def __init__(self) -> None:
        self.seen: list[Samples] = []

    def step(self, window: Samples, state: Samples) -> tuple[float, Samples]:
        self.seen.append(window)
        return float(np.abs(window[64:]).mean() > 0.01), state


def on_the_telephone(period: int, seconds: float = 1.0) -> Samples:
    """A steady voice without what it has below 300 Hz."""
    at = np.arange(int(seconds * SAMPLE_RATE))
    harmonics = range(300 * period // SAMPLE_RATE + 1, 3400 * period // SAMPLE_RATE)
    parts = [np.cos(2 * np.pi * h * at / period) / h for h in harmonics]
    return (0.3 * np.sum(parts, axis=0)).astype(np.float32)


def level_at(samples: Samples, hz: float) -> float:
    at = np.arange(len(samples)) / SAMPLE_RATE
    return float(2 * abs(np.mean(samples * np.exp(-2j * np.pi * hz * at))))


@pytest.mark.parametrize("period", [200, 160, 100])  # 80, 100 and 160 Hz
def test_a_voice_on_the_telephone_gets_its_pitch_back(period: int) -> None:
    voice = on_the_telephone(period)
    given = TelephoneBass().feed(voice)[1600:]
    pitch_hz = SAMPLE_RATE / period
    highest = max(level_at(voice, n * pitch_hz) for n in range(1, 20))
    assert level_at(voice, pitch_hz) < 0.001
    assert level_at(given, pitch_hz) > 0.2 * highest
    assert abs(float(given.mean())) < 0.001


def test_what_has_no_pitch_is_left_as_it_is() -> None:
    steady = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(
        np.float32
    )
    given = TelephoneBass().feed(steady)
    assert np.abs(given - steady)[1600:].max() < 0.2 * 0.3
    assert not TelephoneBass().feed(np.zeros(512, np.float32)).any()


@given(st.lists(st.integers(1, 1999), max_size=6, unique=True))
def test_any_cuts_give_the_same_bass(cuts: list[int]) -> None:
    voice = on_the_telephone(130, 0.125)
    stream = TelephoneBass()
    parts = [stream.feed(part) for part in np.split(voice, sorted(cuts))]
    whole = TelephoneBass().feed(voice)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_the_gate_saves_silence_and_loses_nothing_of_what_comes_before_speech() -> None:
    rng = np.random.default_rng(0)
    silence = (1e-4 * rng.standard_normal(100 * F)).astype(np.float32)
    sound = (0.1 * rng.standard_normal(10 * F)).astype(np.float32)
    listener = Listener()
    stream = SileroStream(listener, gate_mode=0)  # type: ignore[arg-type]
    heard = stream.feed(np.concatenate([silence, sound]))
    assert [frame.probability for frame in heard] == [0.0] * 100 + [1.0] * 10
    assert [frame.at_sample for frame in heard] == [i * F for i in range(110)]
    assert len(listener.seen) < 45
    before = np.concatenate([window[64:] for window in listener.seen[-18:-10]])
    assert np.array_equal(before, silence[-8 * F :])
    windows = listener.seen[-18:]
    assert all(np.array_equal(a[-64:], b[:64]) for a, b in pairwise(windows))


FORMANTS_HZ = {"a": (700, 1200, 2500), "i": (300, 2300, 3000), "o": (450, 850, 2500)}
SYLLABLE_SAMPLES = 2400


def speech_like(vowels: str, pitch_hz: float) -> Samples:
    """Syllables of one vowel each: pulses through resonators; 1.25 s of silence at both ends."""
    count = SYLLABLE_SAMPLES * len(vowels)
    time = np.arange(count) / 16_000
    pitch = pitch_hz * (1.1 - 0.3 * time / time[-1]) * (1 + 0.05 * np.sin(2 * np.pi * 4 * time))
    rng = np.random.default_rng(0)
    source = np.diff(np.floor(np.cumsum(pitch / 16_000)), prepend=0)
    source += 0.005 * rng.standard_normal(count)
    ring = np.arange(800) / 16_000
    voice = np.zeros(count)
    for index, vowel in enumerate(vowels):
        sound = np.zeros(count)
        for hz in FORMANTS_HZ[vowel]:
            response = np.exp(-np.pi * 80 * ring) * np.sin(2 * np.pi * hz * ring) / hz
            sound += np.convolve(source, response)[:count]
        distance = np.abs(np.arange(count) / SYLLABLE_SAMPLES - index - 0.5)
        voice += sound * np.sqrt(np.clip(1.15 - distance / 0.55, 0, 1))
    samples = 1e-4 * rng.standard_normal(count + 40_000)
    samples[20_000 : 20_000 + count] += 0.3 * voice / np.abs(voice).max()
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def silero(models: Callable[[str], Path]) -> SileroVad:
    return SileroVad(models("silero-vad") / "silero_vad.onnx")


@pytest.mark.slow
def test_silero_hears_a_voice_and_no_silence(silero: SileroVad) -> None:
    heard = silero.open().feed(speech_like("aiaiao", 140))
    loud = [frame.at_sample for frame in heard if frame.probability > 0.5]
    assert len(loud) >= 25
    assert all(20_000 - F <= at_sample < 35_500 for at_sample in loud)


@pytest.mark.slow
def test_two_streams_of_one_model_do_not_touch_each_other(silero: SileroVad) -> None:
    one, two = speech_like("aiaiao", 140), speech_like("iaoaia", 110)
    alone = [silero.open().feed(one), silero.open().feed(two)]
    streams = [silero.open(), silero.open()]
    together: list[list[VadFrame]] = [[], []]
    for at in range(0, len(one), 700):
        for stream, samples, output in zip(streams, (one, two), together, strict=True):
            output.extend(stream.feed(samples[at : at + 700]))
    assert together == alone
    assert together[0] != together[1]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 54_400), max_size=30))
def test_any_cuts_give_the_same_probabilities(silero: SileroVad, cuts: list[int]) -> None:
    samples = speech_like("aiaiao", 140)
    stream = silero.open()
    edges = [0, *sorted(cuts), len(samples)]
    heard = [frame for a, b in pairwise(edges) for frame in stream.feed(samples[a:b])]
    assert heard == silero.open().feed(samples)


@pytest.mark.slow
def test_the_gate_moves_no_event_by_more_than_a_frame(silero: SileroVad) -> None:
    samples = np.concatenate([speech_like("aiaiao", pitch) for pitch in (110, 140, 200)])
    heard = [silero.open(gate_mode).feed(samples) for gate_mode in (0, None)]
    assert sum(frame.probability == 0 for frame in heard[0]) > 100
    gated, free = (SpeechDetector(DetectorConfig()).feed(frames) for frames in heard)
    assert len(gated) >= 6
    assert [type(event) for event in gated] == [type(event) for event in free]
    for one, other in zip(gated, free, strict=True):
        assert abs(one.at_sample - other.at_sample) <= F
