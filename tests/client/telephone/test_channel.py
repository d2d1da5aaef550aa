"""The simulated telephone line: delay, level, losses, and that the same seed is the same line."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.sound.playout import Playout
from client.telephone.channel import (
    FRAME_SAMPLES,
    GOOD_LINE,
    LINE_HZ,
    Earpiece,
    LineConditions,
    PhoneLine,
    Telephone,
)
from duplex.audio.formats import decode_ulaw
from duplex.audio.resample import resample

STILL = replace(GOOD_LINE, buffer_ms=60)


def sine(hz, seconds, rate=LINE_HZ, amplitude=0.3):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(
        np.float32
    )


def send(line, samples):
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return np.concatenate([line.feed(frame) for frame in frames])


def rms(samples):
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.mark.parametrize("buffer_ms", [0, 20, 60, 120])
def test_the_delay_is_the_buffers(buffer_ms):
    burst = np.zeros(8 * FRAME_SAMPLES, np.float32)
    burst[:FRAME_SAMPLES] = sine(1000, 0.02)
    heard = send(PhoneLine(replace(GOOD_LINE, buffer_ms=buffer_ms)), burst)
    first = int(np.flatnonzero(np.abs(heard) > 0.05)[0]) * 1000 / LINE_HZ
    assert buffer_ms <= first <= buffer_ms + 2


@pytest.mark.parametrize(
    ("hz", "least_db", "most_db"),
    [(60, -200, -35), (150, -200, -6), (500, -1, 0.5), (1000, -0.5, 0.5), (3000, -1, 0.5),
     (3900, -200, -25)],
)  # fmt: skip
def test_the_band_is_the_telephones(hz, least_db, most_db):
    signal = sine(hz, 1)
    heard = send(PhoneLine(GOOD_LINE), signal)
    level_db = 20 * np.log10(max(rms(heard[800:]), 1e-9) / rms(signal[800:]))
    assert least_db <= level_db <= most_db


@pytest.mark.parametrize("codec", ["ulaw", "alaw"])
def test_a_good_line_leaves_only_the_codecs_noise(codec):
    signal = sine(1000, 1)
    heard = send(PhoneLine(replace(GOOD_LINE, codec=codec)), signal)[800:]
    at = np.arange(len(heard))
    basis = np.stack([np.sin(2 * np.pi * 1000 * at / LINE_HZ), np.cos(2 * np.pi * at / 8)])
    fitted = basis.T @ np.linalg.lstsq(basis.T, heard, rcond=None)[0]
    assert 20 * np.log10(rms(fitted) / rms(heard - fitted)) > 33  # G.711: about 38 dB


def test_noise_is_as_loud_as_asked():
    silent = np.zeros(2 * LINE_HZ, np.float32)
    heard = send(PhoneLine(replace(GOOD_LINE, noise_dbfs=-50.0)), silent)
    assert 20 * np.log10(rms(heard)) == pytest.approx(-50, abs=0.5)


@pytest.mark.parametrize("mean_burst", [None, 1.0, 4.0])
def test_packets_are_lost_as_often_as_asked(mean_burst):
    line = PhoneLine(replace(GOOD_LINE, loss=0.2, mean_burst=mean_burst), seed=3)
    frame = np.zeros(FRAME_SAMPLES, np.float32)
    lost, before = [], 0
    for _ in range(5000):
        line.feed(frame)
        lost.append(line.lost > before)
        before = line.lost
    assert line.lost / line.sent == pytest.approx(0.2, rel=0.1)
    runs = "".join("x" if gone else " " for gone in lost).split()
    wanted = 1 / 0.8 if mean_burst is None else mean_burst
    assert len("".join(runs)) / len(runs) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(("buffer_ms", "share"), [(20, 0.317), (40, 0.0455), (60, 0.0027)])
def test_a_deeper_buffer_loses_less_to_jitter(buffer_ms, share):
    """Within one, two and three standard deviations of the normal distribution."""
    line = PhoneLine(replace(GOOD_LINE, jitter_ms=60.0, buffer_ms=buffer_ms), seed=1)
    frame = np.zeros(FRAME_SAMPLES, np.float32)
    for _ in range(4000):
        line.feed(frame)
    assert line.lost == 0
    assert line.late / line.sent == pytest.approx(share, rel=0.15, abs=0.003)


def test_a_lost_packet_of_a_voice_is_concealed():
    """A period is repeated: hardly to be seen in a steady sound, and gone after 60 ms."""
    line = PhoneLine(GOOD_LINE)
    signal = sine(400, 0.4)
    frames = signal.reshape(-1, FRAME_SAMPLES)
    for frame in frames[:10]:
        line.feed(frame)
    line.conditions = replace(GOOD_LINE, loss=1 - 1e-12)
    gone = np.concatenate([line.feed(frame) for frame in frames[10:14]])
    assert line.lost == 4
    levels = [rms(part) for part in gone.reshape(-1, FRAME_SAMPLES)]
    assert levels[0] > 0.8 * rms(signal)
    assert levels[0] > levels[1] > levels[2] > levels[3] == 0
    assert np.abs(np.diff(gone[:FRAME_SAMPLES])).max() < 0.1  # no clicks within


def test_the_same_seed_is_the_same_line():
    signal = np.random.default_rng(0).uniform(-0.3, 0.3, LINE_HZ).astype(np.float32)
    bad = LineConditions(loss=0.2, mean_burst=3)
    first, again = send(PhoneLine(bad, 5), signal), send(PhoneLine(bad, 5), signal)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, send(PhoneLine(bad, 6), signal))
    up, down = Telephone(bad, 5).uplink, Telephone(bad, 5).downlink
    assert not np.array_equal(send(up, signal), send(down, signal))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_streamed_equals_offline(seed, sizes):
    """What is said in pieces comes out as what is said at once, later speech changes nothing."""
    signal = np.random.default_rng(seed).uniform(-0.3, 0.3, 480 * sum(sizes)).astype(np.float32)
    bad = LineConditions()
    whole = Telephone(bad, seed).speak(signal)
    pieces, at, phone = [], 0, Telephone(bad, seed)
    for size in sizes:
        pieces.append(phone.speak(signal[at : at + 480 * size]))
        assert len(pieces[-1]) == FRAME_SAMPLES * size  # 20 ms for 20 ms
        at += 480 * size
    assert b"".join(pieces) == whole


def test_speaking_is_downsampling_and_the_line():
    signal = sine(700, 1, rate=24_000)
    said = decode_ulaw(Telephone(STILL).speak(signal))
    narrow = np.concatenate([np.zeros(25, np.float32), resample(signal, 24_000, LINE_HZ)])
    wanted = send(PhoneLine(STILL), narrow)
    np.testing.assert_allclose(said[: 40 * FRAME_SAMPLES], wanted[: 40 * FRAME_SAMPLES], atol=0.02)


def test_the_ear_hears_it_later_and_whole():
    phone = Telephone(STILL)
    timeline = np.zeros(24_000, np.float32)
    timeline[4800:9600] = sine(800, 0.2, rate=24_000)
    heard = phone.listen(timeline)
    assert len(heard) == len(timeline)
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    assert loud[0] - 4800 == pytest.approx(phone.delay_samples, abs=48)
    assert loud[-1] - 9599 == pytest.approx(phone.delay_samples, abs=120)
    assert len(Telephone(STILL).listen(timeline[:0])) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"codec": "opus"}, {"loss": 1.0}, {"loss": -0.1}, {"mean_burst": 0.5}, {"buffer_ms": 30},
     {"jitter_ms": -1}, {"low_hz": 3500}],
)  # fmt: skip
def test_no_line_is_like_that(wrong):
    with pytest.raises(ValueError):
        LineConditions(**wrong)
    with pytest.raises(ValueError, match="160 samples"):
        PhoneLine(GOOD_LINE).feed(np.zeros(161, np.float32))


def test_a_loss_that_its_bursts_cannot_make_is_no_line():
    with pytest.raises(ValueError, match="in bursts of"):
        LineConditions(loss=0.6, mean_burst=1)
    LineConditions(loss=0.5, mean_burst=1)


def test_what_the_line_lost_is_not_heard_in_the_next_item():
    playout = Playout()
    playout.feed("a", np.full(480, 0.012, np.float32), 0)
    playout.feed("b", np.full(24_000, 0.5, np.float32), 48_000)
    heard = np.zeros(96_000, np.float32)
    heard[49_440:73_440] = 0.5
    ear = Earpiece(playout, heard, 1440)
    assert ear.first_audible("a") is None
    assert ear.first_audible("b") == 49_440
