"""Background noise at the level that was asked for."""

import numpy as np
import pytest

from client.bench.noise import background, speech_rms
from client.sound.speech import Recording

RATE = 24_000


def rms_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


@pytest.fixture
def recordings():
    draw = np.random.default_rng(0)
    silence = np.zeros(RATE, np.float32)
    parts = [draw.normal(0, level, RATE).astype(np.float32) for level in (0.05, 0.1, 0.2)]
    return [
        Recording(str(i), "", np.concatenate([silence, part, silence]))
        for i, part in enumerate(parts)
    ]


@pytest.mark.parametrize("kind", ["pink", "babble"])
@pytest.mark.parametrize("snr_db", [0.0, 15.0])
def test_the_level_is_below_the_speech(recordings, kind, snr_db):
    """Of the speech itself, not of the silence around it."""
    assert speech_rms(recordings) == pytest.approx(0.1, rel=0.02)
    noise = background(kind, recordings, snr_db)
    assert 20 * np.log10(0.1) - rms_db(noise) == pytest.approx(snr_db, abs=0.3)
    assert noise.dtype == np.float32
    np.testing.assert_array_equal(noise, background(kind, recordings, snr_db))
    assert not np.array_equal(noise, background(kind, recordings, snr_db, seed=1))


def test_it_repeats_without_a_click(recordings):
    noise = background("pink", recordings, 10.0)
    steps = np.abs(np.diff(np.concatenate([noise, noise[:2]])))
    assert steps[-2:].max() <= steps[:-2].max()


def test_pink_noise_falls_by_three_decibels_an_octave(recordings):
    spectrum = np.abs(np.fft.rfft(background("pink", recordings, 10.0).astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(2 * len(spectrum) - 2, 1 / RATE)

    def density_db(low):
        return 10 * np.log10(spectrum[(hertz >= low) & (hertz < 2 * low)].mean())

    assert density_db(500) - density_db(1000) == pytest.approx(3, abs=0.5)
    assert density_db(1000) - density_db(2000) == pytest.approx(3, abs=0.5)
    assert spectrum[hertz < 40].max() < spectrum[(hertz > 60) & (hertz < 100)].mean() * 1e-3


def test_there_must_be_speech():
    with pytest.raises(ValueError, match="no speech"):
        background("pink", [], 10.0)
