"""Sound files of all kinds are read whole, and odd ones do no harm."""

import io
import struct

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from duplex.speech_api.encoding import encoder
from duplex.speech_api.sound_files import UnreadableSound, blocks


def tone(seconds: float, rate: int, channels: int = 1) -> NDArray[np.float32]:
    wave = 0.3 * np.sin(2 * np.pi * 300 / rate * np.arange(round(seconds * rate)))
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def wav(rate: int, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(1.5, rate, channels), rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_16"), (2, "FLOAT"), (6, "PCM_24")])
def test_rates_channels_and_widths(rate: int, channels: int, subtype: str) -> None:
    heard = np.concatenate(list(blocks(wav(rate, channels, subtype))))
    assert len(heard) == 24_000
    np.testing.assert_allclose(heard[4000:20_000], tone(1.5, 16_000)[4000:20_000, 0], atol=0.01)


@pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "aac", "wav"])
def test_what_is_said_can_be_heard(kind: str) -> None:
    """Streamed files, whose heads tell no length, are read to their end."""
    if kind in ("flac", "aac"):
        pytest.importorskip("av")
    made, _ = encoder(kind)
    samples = tone(4.0, 24_000)[:, 0]
    data = b"".join(made.feed(part) for part in np.split(samples, 20)) + made.finish()
    heard = np.concatenate(list(blocks(data)))
    assert len(heard) / 16_000 == pytest.approx(4.0, abs=0.15)
    assert np.abs(heard[8000:48_000]).max() == pytest.approx(0.3, abs=0.03)


def test_webm_of_a_browser() -> None:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(2.0, 48_000).T.copy(), "flt", "mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert len(np.concatenate(list(blocks(file.getvalue())))) == pytest.approx(32_000, abs=1600)


def at_rate(rate: int) -> bytes:
    """A file whose head says that rate."""
    data = wav(16_000)
    return data[:24] + struct.pack("<I", rate) + data[28:]


@pytest.mark.parametrize("rate", [1, 3_999, 2**31 - 1])
def test_a_rate_of_no_recording_is_refused(rate: int) -> None:
    with pytest.raises(UnreadableSound, match="rate"):
        list(blocks(at_rate(rate)))


def test_an_odd_rate_is_read() -> None:
    pytest.importorskip("av")
    heard = np.concatenate(list(blocks(at_rate(15_999))))
    assert len(heard) == pytest.approx(24_001, abs=50)


@pytest.mark.parametrize("data", [b"", b"RIFF", wav(16_000)[:30], b"text" * 999, b"\0" * 9999])
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableSound):
        list(blocks(data))


def test_numbers_that_are_none_are_refused() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.array([0.0, np.nan]), 16_000, format="WAV", subtype="FLOAT")
    with pytest.raises(UnreadableSound):
        list(blocks(file.getvalue()))
