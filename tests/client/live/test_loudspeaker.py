"""What is heard of a stopped answer is what the sound card took, as that cannot be called back."""

import numpy as np
import pytest

from client.live import loudspeaker as module
from client.live.loudspeaker import Cut, Loudspeaker, LoudspeakerFull


def sound(count: int, level: float = 0.5) -> np.ndarray:
    return np.full(count, level, np.float32)


def test_it_plays_in_order_and_is_silent_after():
    speaker = Loudspeaker()
    speaker.feed("a", sound(100, 0.1))
    speaker.feed("a", sound(50, 0.2))
    speaker.feed("b", sound(10, 0.3))
    taken = np.concatenate([speaker.take(30) for _ in range(6)])
    expected = np.concatenate([sound(100, 0.1), sound(50, 0.2), sound(10, 0.3), sound(20, 0.0)])
    np.testing.assert_array_equal(taken, expected)
    assert not speaker.sounding


def test_stopping_is_immediate_and_tells_what_was_heard():
    speaker = Loudspeaker(latency_samples=40)
    speaker.feed("a", sound(100))
    speaker.feed("b", sound(100))
    speaker.take(70)
    assert speaker.stop() == [Cut("a", 70), Cut("b", 0)]
    assert speaker.sounding, "samples that were taken are still on their way"
    assert not speaker.take(200).any()
    speaker.feed("a", sound(100))
    assert not speaker.take(100).any(), "what arrives late of a cut item is not played"
    assert speaker.stop() == [], "told once"


def test_what_has_been_heard_to_its_end_is_not_cut():
    speaker = Loudspeaker(latency_samples=40)
    speaker.feed("a", sound(100))
    speaker.take(100)
    assert speaker.sounding
    speaker.take(40)
    assert not speaker.sounding
    assert speaker.stop() == []


def test_the_end_that_is_on_its_way_is_cut():
    speaker = Loudspeaker(latency_samples=40)
    speaker.feed("a", sound(100))
    speaker.take(110)
    assert speaker.stop() == [Cut("a", 100)]
    speaker.feed("a", sound(100))
    assert not speaker.take(100).any(), "more of it is not played"


def test_a_gap_in_an_item_is_not_counted_as_heard():
    speaker = Loudspeaker()
    speaker.feed("a", sound(100))
    speaker.take(150)
    speaker.feed("a", sound(100))
    speaker.take(50)
    assert speaker.stop() == [Cut("a", 150)]


def test_the_rest_of_a_cut_answer_plays_as_a_new_item():
    speaker = Loudspeaker()
    speaker.feed("a", sound(100))
    speaker.take(20)
    speaker.stop()
    speaker.feed("rest of a", sound(80, 0.25))
    np.testing.assert_array_equal(speaker.take(80), sound(80, 0.25))


def test_when_the_first_audible_sample_sounds():
    speaker = Loudspeaker(latency_samples=2400)
    speaker.feed("a", np.concatenate([sound(4800, 0.001), sound(100)]))
    speaker.take(2400, at_s=10.0)
    assert speaker.audible_s("a") is None
    speaker.take(4800, at_s=10.1)
    assert speaker.audible_s("a") == pytest.approx(10.1 + 0.1 + 0.1)


def test_it_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED_SAMPLES", 100)
    speaker = Loudspeaker()
    speaker.feed("a", sound(90))
    with pytest.raises(LoudspeakerFull):
        speaker.feed("a", sound(11))
    speaker.take(50)
    speaker.feed("a", sound(60))
