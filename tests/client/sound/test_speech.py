"""Where speech lies in a recording, and the microphone that plays it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.realtime import CHUNK_SAMPLES
from client.sound.microphone import Microphone
from client.sound.speech import SpeechBounds, speech_bounds


@given(st.integers(0, 2000), st.integers(1, 3000), st.integers(0, 2000), st.floats(0.1, 1.0))
def test_the_bounds_are_the_outermost_loud_samples(before, length, after, amplitude):
    samples = np.zeros(before + length + after, dtype=np.float32)
    samples[before : before + length] = amplitude
    assert speech_bounds(samples) == SpeechBounds(before, before + length - 1)


def test_noise_far_below_the_speech_does_not_count():
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.001
    noise[10_000:20_000] += np.where(np.arange(10_000) // 50 % 2, 0.3, -0.3).astype(np.float32)
    bounds = speech_bounds(noise)
    assert bounds == SpeechBounds(10_000, 19_999)


@pytest.mark.parametrize("length", [0, 1, 1000, 24_000])
def test_silence_holds_no_speech(length):
    with pytest.raises(ValueError, match="silent"):
        speech_bounds(np.full(length, 1e-4, dtype=np.float32))


def test_the_microphone_never_stops_and_says_everything():
    microphone = Microphone(noise_dbfs=None)
    speech = np.arange(1, 1001, dtype=np.float32) / 1000
    stream = [microphone.take()]
    start = microphone.say(speech)  # type: ignore[arg-type]
    stream += [microphone.take() for _ in range(4)]
    sent = np.concatenate(stream)
    assert start == CHUNK_SAMPLES
    assert np.array_equal(sent, microphone.timeline(len(sent)))
    assert np.array_equal(sent[start : start + 1000], speech)


def test_the_noise_has_the_level_asked_for_and_lies_under_everything():
    microphone = Microphone(noise_dbfs=-60.0, seed=3)
    microphone.say(np.full(480, 0.5, dtype=np.float32))
    spoken = microphone.take()
    idle = np.concatenate([microphone.take() for _ in range(99)])
    assert 20 * np.log10(np.sqrt(np.mean(idle**2))) == pytest.approx(-60, abs=0.3)
    assert np.std(spoken) > 0
