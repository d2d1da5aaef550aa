import wave
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.audio import concealment, files, formats
from duplex.audio.formats import Framer, Samples
from duplex.audio.resample import Resampler, resample

RATES = [8000, 16_000, 22_050, 24_000, 44_100, 48_000]
EVERY_INT16 = np.arange(-32768, 32768).astype(np.int16)


def noise(count: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def tone(hz: float, rate: int) -> Samples:
    return np.sin(2 * np.pi * hz * np.arange(rate) / rate).astype(np.float32)


def pieces(samples: Samples, cuts: list[int]) -> Iterator[Samples]:
    for start, end in pairwise([0, *sorted(min(c, len(samples)) for c in cuts), len(samples)]):
        yield samples[start:end]


def power_db(samples: Samples) -> float:
    middle = samples[len(samples) // 10 : -len(samples) // 10]
    return float(10 * np.log10(2 * np.mean(middle.astype(np.float64) ** 2) + 1e-12))


def test_every_int16_survives_the_way_through_float() -> None:
    assert np.array_equal(formats.float_to_int16(formats.int16_to_float(EVERY_INT16)), EVERY_INT16)
    data = EVERY_INT16.astype("<i2").tobytes()
    assert formats.encode_pcm16(formats.decode_pcm16(data)) == data


def test_what_is_too_loud_is_clipped_and_the_rest_rounded() -> None:
    samples = [-7.0, -1.0, 1.0, 7.0, 0.6 / 32768, -0.6 / 32768, 0.4 / 32768]
    assert formats.float_to_int16(samples).tolist() == [-32768, -32768, 32767, 32767, 1, -1, 0]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="even number of bytes, got 3"):
        formats.decode_pcm16(b"\0\0\0")


def test_g711_decodes_as_the_recommendation_says() -> None:
    """ITU-T G.711, tables 1a to 2b: the ends, the steps around zero, a step of each segment."""
    ulaw = {0x00: -8031, 0x80: 8031, 0x0F: -4191, 0x8F: 4191, 0x9F: 2079, 0xAF: 1023, 0xBF: 495}
    ulaw |= {0xCF: 231, 0xDF: 99, 0xEF: 33, 0xFE: 2, 0xFF: 0, 0x7F: 0, 0x7E: -2}  # of 14 bits
    alaw = {0x2A: -4032, 0xAA: 4032, 0xA5: 2112, 0xB5: 1056, 0x85: 528, 0x95: 264}
    alaw |= {0xE5: 132, 0xF5: 66, 0xC5: 33, 0xD5: 1, 0x55: -1, 0x54: -3}  # of 13 bits
    got = formats.float_to_int16(formats.decode_ulaw(bytes(ulaw)))
    assert (got // 4).tolist() == list(ulaw.values())
    got = formats.float_to_int16(formats.decode_alaw(bytes(alaw)))
    assert (got // 8).tolist() == list(alaw.values())


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_g711_encodes_to_a_neighbour(law: str) -> None:
    encode, decode = getattr(formats, f"encode_{law}"), getattr(formats, f"decode_{law}")
    codes = bytes(set(range(256)) - ({0x7F} if law == "ulaw" else set()))  # 0x7F is minus zero
    assert encode(decode(codes)) == codes
    levels = np.unique(formats.float_to_int16(decode(codes)))
    decoded = formats.float_to_int16(decode(encode(formats.int16_to_float(EVERY_INT16))))
    above = np.searchsorted(levels, EVERY_INT16).clip(0, len(levels) - 1)
    below = (np.searchsorted(levels, EVERY_INT16, side="right") - 1).clip(0)
    assert ((decoded == levels[above]) | (decoded == levels[below])).all()
    assert (np.diff(decoded.astype(int)) >= 0).all()


@given(st.lists(st.integers(0, 200), max_size=8), st.integers(1, 60))
def test_frames_hold_every_sample_once_and_in_order(cuts: list[int], size: int) -> None:
    samples = noise(200)
    framer = Framer(size)
    frames = [frame for piece in pieces(samples, cuts) for frame in framer.feed(piece)]
    assert all(len(frame) == size for frame in frames)
    assert np.array_equal(np.concatenate([*frames, samples[:0]]), samples[: 200 // size * size])


def test_a_frame_has_samples() -> None:
    with pytest.raises(ValueError, match="frame_samples"):
        Framer(0)


@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.integers(0, 3000),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_resampling_in_pieces_equals_resampling_at_once(
    from_hz: int, to_hz: int, count: int, cuts: list[int]
) -> None:
    samples = noise(count)
    whole = resample(samples, from_hz, to_hz)
    stream = Resampler(from_hz, to_hz)
    output = [stream.feed(piece) for piece in pieces(samples, cuts)]
    assert np.array_equal(np.concatenate([*output, stream.flush()]), whole)
    assert len(whole) == -(-count * to_hz // from_hz)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("to_hz", RATES)
@pytest.mark.parametrize("from_hz", RATES)
def test_resampling_keeps_the_band_and_nothing_else(from_hz: int, to_hz: int) -> None:
    nyquist = min(from_hz, to_hz) / 2
    for hz in (300.0, 0.88 * nyquist):
        got = resample(tone(hz, from_hz), from_hz, to_hz)
        error = got - tone(hz, to_hz)[: len(got)]
        assert power_db(error) < -70
    if 1.12 * nyquist < from_hz / 2:
        alias = resample(tone(1.12 * nyquist, from_hz), from_hz, to_hz)
        assert power_db(alias) < -70


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (22_050, 24_000), (8000, 16_000)])
def test_resampling_holds_back_little(from_hz: int, to_hz: int) -> None:
    stream = Resampler(from_hz, to_hz)
    got = len(stream.feed(noise(from_hz)))
    assert (to_hz - got) / to_hz < 0.0032


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (8000, 24_000), (48_000, 16_000)])
def test_resampling_phase_by_phase_gives_the_same_bits(
    from_hz: int, to_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).standard_normal(from_hz // 4).astype(np.float32)
    by_phase = resample(noise, from_hz, to_hz)
    monkeypatch.setattr("duplex.audio.resample._FEW_PHASES", 0)
    np.testing.assert_array_equal(by_phase, resample(noise, from_hz, to_hz))


def test_resampling_refuses_no_rate() -> None:
    with pytest.raises(ValueError, match="positive"):
        Resampler(0, 16_000)


def test_wav_round_trip(tmp_path: Path) -> None:
    samples = formats.int16_to_float(EVERY_INT16[::7])
    files.write_wav(tmp_path / "a.wav", samples, 24_000)
    read, rate = files.read_sound(tmp_path / "a.wav")
    assert rate == 24_000
    assert np.array_equal(read, samples)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_widths_and_channels(tmp_path: Path, width: int, channels: int) -> None:
    levels = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    integers = (levels * 2 ** (8 * width - 1)).astype("<i4")
    left = np.stack([integers] + [np.zeros_like(integers)] * (channels - 1), axis=1)
    if width == 1:
        data = (left + 128).astype(np.uint8).tobytes()
    else:
        data = left.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(data)
    samples, rate = files.read_sound(tmp_path / "a.wav")
    assert rate == 8000
    assert samples.tolist() == (levels / channels).tolist()


@pytest.mark.parametrize("content", [b"not a wav file, only words in a row", b"RIFF"])
def test_what_is_no_sound_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav: not a sound file"):
        files.read_sound(tmp_path / "a.wav")


def voice(count: int, period: int = 62) -> Samples:
    """Harmonics of 129 Hz at 8 kHz."""
    at = 2 * np.pi * np.arange(count) / period
    parts = [np.sin(harmonic * at + harmonic) / harmonic for harmonic in range(1, 12)]
    return (0.15 * np.sum(parts, axis=0)).astype(np.float32)


def over_the_line(samples: Samples, missing: set[int]) -> Samples:
    """What is heard of packets of 20 ms."""
    receiver = concealment.Concealer()
    frames = enumerate(samples.reshape(-1, 160))
    heard = [receiver.conceal(160) if n in missing else receiver.play(f) for n, f in frames]
    return np.concatenate(heard)


def test_packets_that_are_there_are_not_touched() -> None:
    samples = noise(3200)
    np.testing.assert_array_equal(over_the_line(samples, set()), samples)


@pytest.mark.parametrize("period", [43, 62, 90, 118])
def test_a_missing_packet_of_a_steady_voice_goes_on_fading(period: int) -> None:
    said = voice(3200, period)
    heard = over_the_line(said, {12})
    fade = 1 - np.arange(160) / 480
    np.testing.assert_allclose(heard[1920:2080], said[1920:2080] * fade, atol=0.01)
    np.testing.assert_array_equal(
        np.delete(heard, np.s_[1920:2080]), np.delete(said, np.s_[1920:2080])
    )


def test_a_gap_fades_and_is_silent_after_60_ms() -> None:
    heard = over_the_line(voice(3200), {10, 11, 12, 13})[1600:2240].reshape(-1, 80)
    levels = [float(np.sqrt(np.mean(np.square(part)))) for part in heard]
    assert all(a > 1.1 * b for a, b in pairwise(levels[:6]))
    assert levels[6:] == [0, 0]


@given(st.lists(st.integers(0, 640), max_size=8), st.integers(0, 2**32 - 1))
def test_a_gap_sounds_the_same_however_it_is_asked_for(cuts: list[int], seed: int) -> None:
    once, often = concealment.Concealer(), concealment.Concealer()
    once.play(noise(800, seed))
    often.play(noise(800, seed))
    whole = once.conceal(640)
    parts = [often.conceal(len(part)) for part in pieces(whole, cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(often.play(noise(160)), once.play(noise(160)))


def test_a_line_that_begins_with_a_gap_is_silent() -> None:
    heard = over_the_line(voice(320), {0, 1})
    assert not heard.any()
