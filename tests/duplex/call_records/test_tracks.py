"""The channels of a recording, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.audio.formats import Samples
from duplex.call_records.tracks import SETTLES_S, CallerTrack, CallTracks, ReplyTrack

HZ = 1000  # samples are milliseconds
PACKET = 20


def ramp(start: int, count: int) -> Samples:
    return np.arange(start, start + count, dtype=np.float32)


def whole(track: CallerTrack, now: int) -> Samples:
    return track.take(track.finish(now), now)


@given(st.lists(st.integers(0, 150), min_size=5, max_size=80))
@settings(max_examples=50, deadline=None)
def test_jitter_moves_nothing(delays: list[int]) -> None:
    track, at, ahead = CallerTrack(HZ), 0, 0
    for index, delay in enumerate(delays):
        at = max(at, (index + 1) * PACKET + delay)
        ahead += track.feed(ramp(1 + index * PACKET, PACKET), at + ahead)
    count = len(delays) * PACKET
    assert ahead == 0
    assert np.array_equal(whole(track, 0), ramp(1, count))


def test_a_stalled_network_is_no_silence() -> None:
    track = CallerTrack(HZ)
    for index in range(50):
        at = (index + 1) * PACKET
        track.feed(ramp(index * PACKET, PACKET), at + 600 if 20 <= index < 50 and at < 1000 else at)
    assert np.array_equal(track.take(1000, 1000), ramp(0, 1000))
    assert track.shifts == []


def test_a_client_that_sent_nothing_for_a_while_was_silent() -> None:
    track = CallerTrack(HZ)
    for index in range(200):
        at = (index + 1) * PACKET + (3000 if index >= 50 else 0)
        track.feed(ramp(1 + index * PACKET, PACKET), at)
    sound = track.take(7000, 7000)
    assert np.array_equal(sound[:1000], ramp(1, 1000))
    assert not sound[1000:4000].any()
    assert np.array_equal(sound[4000:], ramp(1001, 3000))
    assert track.shifts == [(1000, 3000)]


def test_silence_is_given_out_before_the_client_goes_on() -> None:
    track = CallerTrack(HZ)
    track.feed(ramp(1, 100), 100)
    assert not track.take(5000, 11_000)[100:].any()
    for index in range(100):
        track.feed(ramp(101 + index * PACKET, PACKET), 11_000 + (index + 1) * PACKET)
    sound = track.take(8000, 13_000)
    assert not sound[:6000].any()
    assert np.array_equal(sound[6000:], ramp(101, 2000))


def test_a_file_sent_at_once_pushes_the_time_of_the_call() -> None:
    tracks = CallTracks(HZ)
    tracks.heard(ramp(1, 5000), 0.1)
    tracks.reply.feed("a", ramp(1, 100), tracks.at(0.2))
    both = tracks.take(5200, 0.4)
    assert np.array_equal(both[:5000, 0], ramp(1, 5000))
    assert np.flatnonzero(both[:, 1])[0] == 5100  # after what the caller said


def test_an_answer_is_played_when_the_one_before_is() -> None:
    track = ReplyTrack()
    track.feed("a", ramp(1, 300), 100)
    track.feed("a", ramp(301, 100), 150)
    track.feed("b", ramp(1, 50), 200)
    track.feed("b", ramp(51, 50), 700)  # too late: there was nothing left to play
    sound = track.take(800)
    assert not sound[:100].any()
    assert np.array_equal(sound[100:500], ramp(1, 400))
    assert np.array_equal(sound[500:550], ramp(1, 50))
    assert not sound[550:700].any()
    assert np.array_equal(sound[700:750], ramp(51, 50))


@pytest.mark.parametrize("taken", [0, 120, 250])
def test_a_cut_answer_ends_where_it_was_heard_to(taken: int) -> None:
    track = ReplyTrack()
    track.feed("a", ramp(1, 500), 100)
    track.feed("a", ramp(501, 500), 150)
    sound = [track.take(taken)]
    track.cut("a", 180, 400)
    track.feed("b", ramp(1, 50), 420)
    sound.append(track.take(500 - taken))
    heard = np.concatenate(sound)
    end = max(280, taken)  # what was written stays
    assert np.array_equal(heard[100:end], ramp(1, end - 100))
    assert not heard[end:420].any()
    assert np.array_equal(heard[420:470], ramp(1, 50))
    span = track.place("a")
    assert span is not None
    assert span.start == 100


def test_nothing_was_played_after_it_was_cut() -> None:
    """The next answer waits behind the one before; its own clock may say that it was heard."""
    track = ReplyTrack()
    track.feed("a", ramp(1, 400), 0)
    track.feed("b", ramp(1, 400), 100)
    track.cut("b", 200, 500)
    assert np.array_equal(track.take(1000)[400:500], ramp(1, 100))
    assert track.place("b").end == 500  # type: ignore[union-attr]


def test_the_end_of_the_call_cuts_what_is_left() -> None:
    track = ReplyTrack()
    track.feed("a", ramp(1, 500), 100)
    track.feed("b", ramp(1, 500), 200)
    assert track.finish(400) == [("a", 300), ("b", 0)]
    assert np.flatnonzero(track.take(2000))[-1] == 399


def test_only_what_is_settled_is_given_out() -> None:
    tracks = CallTracks(HZ)
    assert tracks.ready(SETTLES_S) == 0
    assert tracks.ready(SETTLES_S + 2) == 2 * HZ
