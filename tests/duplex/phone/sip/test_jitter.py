"""The jitter buffer, in simulated time."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.audio.formats import ALAW, ULAW
from duplex.phone.sip.jitter import FRAME_SAMPLES, JitterBuffer

QUIET = b"\xff" * FRAME_SAMPLES
LOUD = b"\x90" * FRAME_SAMPLES


def frame(number: int) -> bytes:
    """One that tells its number: no two of 100 are alike, and all are loud."""
    return bytes([number % 100 // 10, number % 10 + 16]) * (FRAME_SAMPLES // 2)


class Line:
    """Packets that arrive at given times, and a tick every 20 ms."""

    def __init__(self, first_timestamp: int = 0) -> None:
        self.buffer = JitterBuffer(ULAW)
        self.first_timestamp = first_timestamp
        self.delays_s: list[float] = []

    def run(self, arrivals: list[tuple[float, int]], ticks: int, sound=frame) -> list[bytes | None]:
        arrivals = sorted(arrivals)
        heard = []
        for tick in range(ticks):
            now_s = tick * 0.02 + 0.011
            while arrivals and arrivals[0][0] <= now_s:
                at_s, number = arrivals.pop(0)
                timestamp = (self.first_timestamp + number * FRAME_SAMPLES) % 2**32
                self.buffer.put(timestamp, sound(number), at_s)
            samples = self.buffer.tick(now_s)
            heard.append(None if samples is None else ULAW.encode(samples))
        return heard


def steady(count: int, start: int = 0) -> list[tuple[float, int]]:
    return [(number * 0.02, number) for number in range(start, start + count)]


@pytest.mark.parametrize("first", [0, 2**31 - 3200, 2**32 - 1600])
def test_what_comes_in_time_is_played_as_it_is_also_where_timestamps_wrap(first):
    heard = Line(first).run(steady(60), 60)
    assert heard == [frame(number) for number in range(60)]


def test_before_the_first_frame_there_is_nothing():
    assert Line().run([], 3) == [None] * 3


@pytest.mark.parametrize("seed", range(20))
def test_60_ms_of_jitter_and_5_percent_of_loss_cost_what_was_lost(seed):
    dice = random.Random(seed)
    sent = range(1000)
    arrivals = [
        (number * 0.02 + dice.uniform(0, 0.06), number) for number in sent if dice.random() >= 0.05
    ]
    line = Line()
    line.run(list(arrivals), 1010, lambda _: LOUD)
    counts = line.buffer.counts
    assert counts.late <= 12  # in the first second, until it knows
    assert counts.played + counts.late + counts.left_out >= len(arrivals)
    assert counts.played >= 0.92 * len(sent)


def test_a_frame_that_never_comes_is_made_up_of_the_one_before_it():
    arrivals = [arrival for arrival in steady(30) if arrival[1] != 20]
    line = Line()
    heard = line.run(arrivals, 30)
    assert heard[:20] == [frame(number) for number in range(20)]
    assert heard[20] not in (QUIET, None, frame(20))
    assert heard[21:] == [frame(number) for number in range(21, 30)]
    assert line.buffer.counts.concealed == 1


def test_a_phone_that_sends_nothing_in_silence_is_silent_and_then_in_time():
    arrivals = [arrival for arrival in steady(100) if not 20 <= arrival[1] < 70]
    heard = Line().run(arrivals, 100)
    assert set(heard[24:70]) == {QUIET}
    assert heard[70:] == [frame(number) for number in range(70, 100)]


@pytest.mark.parametrize("jump", [-1_000_000, -1500, 100, 1500, 1_000_000])
def test_a_sender_whose_clock_jumps_is_followed(jump):
    before = [(n * 0.02, n) for n in range(20)]
    after = [(n * 0.02, n + jump) for n in range(20, 60)]
    heard = Line(2**31).run(before + after, 60)
    assert heard[-20:] == [frame(n + jump) for n in range(40, 60)]


def test_what_was_held_back_for_a_bad_minute_is_left_out_where_the_caller_is_silent():
    dice = random.Random(1)
    bad = [(number * 0.02 + dice.uniform(0, 0.1), number) for number in range(300)]
    good = [(number * 0.02, number) for number in range(300, 1200)]
    line = Line()
    line.run(bad + good, 1200, lambda number: QUIET if number % 50 > 25 else LOUD)
    assert 2 <= line.buffer.counts.left_out <= 6
    assert line.buffer.counts.played >= 1190 - line.buffer.counts.left_out


def test_two_of_every_packet_are_as_one():
    heard = Line().run(steady(30) + [(at_s + 0.001, n) for at_s, n in steady(30)], 30)
    assert heard == [frame(number) for number in range(30)]


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 5), st.binary(min_size=160, max_size=160))
    )
)
def test_whatever_comes_it_gives_one_frame_each_time_and_keeps_little(packets):
    buffer = JitterBuffer(ALAW)
    now_s = 0.0
    for timestamp, after_s, payload in packets:
        now_s += after_s
        buffer.put(timestamp, payload, now_s)
        samples = buffer.tick(now_s)
        assert samples is not None
        assert len(samples) == FRAME_SAMPLES
    assert len(buffer._frames) <= 500
