"""Recordings in the formats that people have, written by soundfile."""

import sys
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


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", RATE), ("a.webm", "libopus", 48_000), ("a.mp4", "aac", RATE)],
)
def test_what_telephones_and_browsers_record_is_read(
    tmp_path: Path, tone: Samples, name: str, codec: str, rate: int
) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        at = np.arange(rate) / rate
        pcm = (0.5 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="fltp", layout="mono")
        frame.sample_rate = rate
        for fitting in av.AudioResampler(format=stream.format, rate=rate).resample(frame):
            container.mux(stream.encode(fitting))
        container.mux(stream.encode(None))
    samples, found = read_sound(tmp_path / name)
    assert found == rate
    assert len(samples) / rate == pytest.approx(1, abs=0.12)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_what_libsndfile_does_not_read_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\0\0")
    with pytest.raises(ValueError, match=r"a\.m4a: not a sound file.*duplex-r1\[files\]"):
        read_sound(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"My notes: nothing to hear.\n" * 50, "not a sound file"),
        (b"RIFF\x24\0\0\0WAVE", "not a sound file"),
    ],
)
def test_what_is_no_recording_is_told_with_a_reason(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.wav: {told}"):
        read_sound(tmp_path / "a.wav")


def test_a_recording_of_no_samples_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match="there is no sound in it"):
        read_sound(tmp_path / "a.wav")


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
