"""Recordings in the formats that people have, written by soundfile."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from duplex.audio.files import read_sound, sounds_in
from duplex.audio.formats import Samples

RATE = 24_000


@pytest.fixture
def tone() -> Samples:
    at = np.arange(RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kind", "subtype"),
    [
        ("a.wav", "WAV", "FLOAT"),
        ("a.wav", "WAV", "DOUBLE"),
        ("a.wav", "WAV", "PCM_16"),
        ("a.wav", "WAV", "PCM_24"),
        ("a.wav", "WAV", "PCM_32"),
        ("a.wav", "WAVEX", "PCM_16"),
        ("a.wav", "WAVEX", "PCM_24"),
        ("a.wav", "WAVEX", "FLOAT"),
        ("a.wav", "RF64", "PCM_16"),
        ("a.flac", "FLAC", "PCM_24"),
        ("a.aiff", "AIFF", "PCM_16"),
        ("no suffix", "FLAC", "PCM_16"),
    ],
)
def test_what_has_no_losses_is_read_as_it_was(
    tmp_path: Path, tone: Samples, name: str, kind: str, subtype: str
) -> None:
    soundfile.write(tmp_path / name, tone, RATE, format=kind, subtype=subtype)
    samples, rate = read_sound(tmp_path / name)
    assert rate == RATE
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, tone, atol=1 / 32768)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.ogg", "VORBIS"), ("a.opus", "OPUS"), ("a.mp3", "MPEG_LAYER_III"), ("a.wav", "ULAW")],
)
def test_what_is_coded_with_losses_is_nearly_what_it_was(
    tmp_path: Path, tone: Samples, name: str, subtype: str
) -> None:
    kind = {"a.opus": "OGG"}.get(name)
    soundfile.write(tmp_path / name, tone, RATE, format=kind, subtype=subtype)
    samples, rate = read_sound(tmp_path / name)
    assert rate in (RATE, 48_000)  # Opus decodes at 48 kHz
    middle = slice(len(samples) // 4, len(samples) * 3 // 4)
    spectrum = np.abs(np.fft.rfft(samples[middle] * np.hanning(len(samples[middle]))))
    peak_hz = float(spectrum.argmax()) * rate / len(samples[middle])
    assert peak_hz == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(samples[middle] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert len(samples) / rate == pytest.approx(1, abs=0.12)


def test_channels_are_averaged(tmp_path: Path, tone: Samples) -> None:
    soundfile.write(tmp_path / "a.flac", np.stack([tone, np.zeros_like(tone)], axis=1), RATE)
    samples, _ = read_sound(tmp_path / "a.flac")
    np.testing.assert_allclose(samples, tone / 2, atol=1 / 32768)


def test_floats_beyond_the_range_are_clipped(tmp_path: Path, tone: Samples) -> None:
    soundfile.write(tmp_path / "a.wav", 4 * tone, RATE, subtype="FLOAT")
    samples, _ = read_sound(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, np.clip(4 * tone, -1, 1))


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, tone: Samples) -> None:
    tone[7] = np.nan
    soundfile.write(tmp_path / "a.wav", tone, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: not all of its samples are numbers"):
        read_sound(tmp_path / "a.wav")


def test_a_file_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sound(tmp_path / "a.wav")


def test_recordings_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.flac", "c.mp3", "a.txt", "notes.md"):
        (tmp_path / name).touch()
    assert [path.name for path in sounds_in(tmp_path)] == ["a.flac", "b.WAV", "c.mp3"]
