"""Devices of any rate and one or two channels."""

import numpy as np
import pytest

from client.live.soundcard import InputFormat, OutputFormat
from duplex.audio.formats import decode_pcm16, encode_pcm16
from duplex.audio.resample import resample


def tone(count: int, rate_hz: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_microphone_in_buffers_is_the_recording_at_24_khz(rate_hz, channels):
    recording = tone(rate_hz, rate_hz)
    frames = np.zeros((len(recording), channels), np.float32)
    frames[:, 0] = recording * channels  # on the left only
    whole = resample(decode_pcm16(encode_pcm16(recording)), rate_hz, 24_000)
    decoder = InputFormat(rate_hz, channels)
    parts = [decoder.decode(encode_pcm16(frames[at : at + 441])) for at in range(0, rate_hz, 441)]
    heard = np.concatenate(parts)
    assert len(whole) - len(heard) < 60  # what the resampler holds back
    np.testing.assert_allclose(heard, whole[: len(heard)], atol=2e-4)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_loudspeaker_gets_what_is_played_and_takes_no_more_than_it_needs(rate_hz, channels):
    played = tone(24_000, 24_000)
    taken = 0

    def render(count: int) -> np.ndarray:
        nonlocal taken
        taken += count
        return played[taken - count : taken]

    encoder = OutputFormat(rate_hz, channels)
    buffers = []
    for number in range(1, 41):
        buffers.append(encoder.encode(rate_hz // 50, render))
        assert taken - number * 480 <= 60, "it runs ahead of the sound"
    frames = decode_pcm16(b"".join(buffers)).reshape(-1, channels)
    for channel in range(channels):
        expected = resample(played, 24_000, rate_hz)[: len(frames)]
        np.testing.assert_allclose(frames[:, channel], expected, atol=2e-4)
