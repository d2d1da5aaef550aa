"""Packets that come late, in the wrong order, twice or never."""

import random

from hypothesis import given
from hypothesis import strategies as st

from duplex.webrtc.reordering import Gap, Reordering, Sound

LENGTH = 960
_START_NUMBER, _START_TIME = 65_530, 2**32 - 5_000  # both wrap soon


class Stream:
    def __init__(self) -> None:
        self.buffer = Reordering()
        self.out: list[Sound | Gap] = []

    def put(self, index: int, now_s: float, *, at: int | None = None) -> None:
        number = (_START_NUMBER + index) % 2**16
        timestamp = (_START_TIME + LENGTH * (index if at is None else at)) % 2**32
        self.out += self.buffer.put(number, timestamp, b"%d" % index, LENGTH, now_s)

    def tick(self, now_s: float) -> None:
        self.out += self.buffer.tick(now_s)

    @property
    def heard(self) -> list[int | None]:
        """Indices of packets, None for each 20 ms of a gap."""
        heard: list[int | None] = []
        for part in self.out:
            if isinstance(part, Sound):
                heard.append(int(part.payload))
            else:
                assert part.length % LENGTH == 0
                heard += [None] * (part.length // LENGTH)
        return heard


def test_packets_in_order_pass_at_once() -> None:
    stream = Stream()
    for index in range(20):
        stream.put(index, index * 0.02)
        assert stream.heard == list(range(index + 1))


def test_one_that_was_overtaken_is_waited_for() -> None:
    stream = Stream()
    for index, now_s in ((0, 0.0), (2, 0.02), (3, 0.04), (1, 0.09)):
        stream.tick(now_s)
        stream.put(index, now_s)
    assert stream.heard == [0, 1, 2, 3]
    assert stream.buffer.counts.lost == 0


def test_one_that_is_lost_is_given_up_and_leaves_its_place() -> None:
    stream = Stream()
    for index, now_s in ((0, 0.0), (3, 0.02), (4, 0.04)):
        stream.put(index, now_s)
    stream.tick(0.11)
    assert stream.heard == [0]
    stream.tick(0.121)
    assert stream.heard == [0, None, None, 3, 4]
    stream.put(1, 0.14)  # too late
    assert stream.heard == [0, None, None, 3, 4]
    assert (stream.buffer.counts.lost, stream.buffer.counts.late) == (2, 1)


def test_two_that_are_lost_are_not_waited_for_one_after_the_other() -> None:
    stream = Stream()
    for index, now_s in ((0, 0.0), (2, 0.02), (4, 0.04)):
        stream.put(index, now_s)
    stream.tick(0.15)
    assert stream.heard == [0, None, 2, None, 4]


def test_time_goes_on_while_nothing_comes() -> None:
    """As with a sender that is silent in silence: turns end all the same."""
    stream = Stream()
    stream.put(0, 0.0)
    for step in range(1, 31):
        stream.tick(step * 0.02)
    assert sum(part.length for part in stream.out if isinstance(part, Gap)) == 30 * LENGTH
    stream.put(1, 0.62, at=32)  # the next packet is of then
    assert stream.heard[0] == 0
    assert stream.heard[-2:] == [None, 1]
    assert len(stream.heard) == 33


def test_a_stall_of_the_network_is_no_pause_and_loses_nothing() -> None:
    stream = Stream()
    stream.put(0, 0.0)
    for step in range(1, 20):
        stream.tick(step * 0.02)
    for index in range(1, 21):
        stream.put(index, 0.41)
    assert stream.heard == list(range(21))


def test_a_stall_of_our_own_is_no_pause_either() -> None:
    stream = Stream()
    stream.put(0, 0.0)
    stream.tick(0.02)
    for _ in range(5):
        stream.tick(1.0)
    for index in range(1, 50):
        stream.put(index, 1.0)
    assert stream.heard == list(range(50))


def test_a_long_pause_is_not_filled_for_long() -> None:
    stream = Stream()
    stream.put(0, 0.0)
    stream.put(1, 0.02, at=100_000)
    assert stream.heard == [0, *[None] * 50, 1]


def test_another_stream_begins_anew() -> None:
    stream = Stream()
    stream.put(0, 0.0)
    stream.put(20_000, 0.02)
    stream.put(20_001, 0.04)
    assert stream.heard == [0, 20_000, 20_001]


@given(st.integers(0, 2**32), st.floats(0, 0.2), st.floats(0, 0.09))
def test_what_comes_within_its_time_is_heard_once_and_in_order(
    seed: int, loss: float, jitter_s: float
) -> None:
    dice = random.Random(seed)
    sent = [index for index in range(150) if index == 0 or dice.random() >= loss]
    arrivals = sorted(
        (index * 0.02 + (dice.uniform(0, jitter_s) if index else 0), index) for index in sent
    )
    stream = Stream()
    now_s = 0.0
    for at_s, index in arrivals:
        while now_s + 0.02 <= at_s:
            now_s += 0.02
            stream.tick(now_s)
        stream.put(index, at_s)
    stream.tick(now_s + 1)
    heard = stream.heard
    assert [index for index in heard if index is not None] == sent
