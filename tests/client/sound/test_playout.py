"""The loudspeaker: what plays when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.sound.playout import LATE_SAMPLES, Playout


def ramp(count: int, start: int = 1) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32) / 1000


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.data())
def test_audio_that_is_never_late_plays_the_same_for_any_cut_and_arrival(lengths, data):
    whole = ramp(sum(lengths))
    playout, sent, now = Playout(), 0, 100
    for length in lengths:
        playout.feed("a", whole[sent : sent + length], now)
        sent += length
        now = data.draw(st.integers(now, playout.end + LATE_SAMPLES - 1))
    assert playout.underruns == {}
    timeline = playout.timeline(100 + len(whole) + 50)
    assert np.array_equal(timeline[100 : 100 + len(whole)], whole)
    assert not timeline[:100].any()
    assert not timeline[100 + len(whole) :].any()
    assert np.array_equal(playout.item("a"), whole)


def test_late_audio_is_an_underrun_and_plays_on_arrival():
    playout = Playout()
    playout.feed("a", ramp(100), 0)
    playout.feed("a", ramp(100), 250)
    assert playout.underruns == {"a": 1}
    assert playout.underrun_samples == 150
    assert [piece.start for piece in playout.pieces] == [0, 250]
    assert len(playout.item("a")) == 200


def test_the_next_item_waits_for_the_one_before_and_its_pause_is_no_underrun():
    playout = Playout()
    playout.feed("a", ramp(100), 0)
    playout.feed("b", ramp(100), 50)
    playout.feed("c", ramp(100), 900)
    assert [piece.start for piece in playout.pieces] == [0, 100, 900]
    assert playout.underruns == {}


@given(st.integers(0, 400))
def test_an_interruption_keeps_exactly_what_was_heard(now):
    playout = Playout()
    playout.feed("a", ramp(100), 0)
    playout.feed("a", ramp(100, 101), 0)
    playout.feed("b", ramp(100), 0)
    stopped = playout.interrupt(now)
    if now >= 300:
        assert stopped is None
        assert playout.end == 300
        return
    assert stopped == (("a", now) if now < 200 else ("b", now - 200))
    assert playout.end == now
    assert playout.heard("a", 1000) == min(now, 200)
    assert np.array_equal(playout.item("a"), ramp(min(now, 200)))
    playout.feed("b", ramp(50), now)
    assert playout.end == now, "what was cut off stays cut off"
    playout.feed("c", ramp(50), now)
    assert playout.end == now + 50


def test_heard_counts_what_has_been_played_by_then():
    playout = Playout()
    playout.feed("a", ramp(100), 10)
    assert [playout.heard("a", now) for now in (0, 10, 60, 110, 500)] == [0, 0, 50, 100, 100]


@pytest.mark.parametrize(("samples", "first", "last"), [([0, 0.02, 0, -0.5, 0], 1, 3), ([0], 0, 0)])
def test_audible_positions_are_places_in_the_call(samples, first, last):
    playout = Playout()
    playout.feed("a", np.zeros(10, dtype=np.float32), 100)
    playout.feed("a", np.array(samples, dtype=np.float32), 100)
    if max(samples) == 0:
        assert playout.first_audible("a") is None
        assert playout.last_audible("a") is None
    else:
        assert playout.first_audible("a") == 110 + first
        assert playout.last_audible("a") == 110 + last
