"""Passages of a recording: all speech is in them, in order, and none is too long."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from duplex.speech_api.cutting import FRAME_SAMPLES, RATE_HZ, Clip, Cutter, tightened
from engine.ear.passage import TimedWord

LONGEST = 20 * RATE_HZ // FRAME_SAMPLES
RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 700)), max_size=5)


def cut(runs: list[tuple[bool, int]]) -> list[Clip]:
    """The passages of runs of speech and silence, in frames that hold their own number."""
    cutter = Cutter()
    voiced = [is_voiced for is_voiced, count in runs for _ in range(count)]
    found = [
        cutter.feed(np.full(FRAME_SAMPLES, number, np.float32), 0.9 if is_voiced else 0.1)
        for number, is_voiced in enumerate(voiced)
    ]
    return [clip for clip in [*found, cutter.finish()] if clip is not None]


@given(RUNS)
def test_all_speech_is_heard_once(runs: list[tuple[bool, int]]) -> None:
    voiced = [is_voiced for is_voiced, count in runs for _ in range(count)]
    heard: list[int] = []
    for clip in cut(runs):
        numbers = clip.samples.reshape(-1, FRAME_SAMPLES)[:, 0].astype(int).tolist()
        assert numbers[0] == clip.start_sample // FRAME_SAMPLES
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert [voiced[number] for number in numbers] == list(clip.voiced)
        assert any(clip.voiced)
        assert len(numbers) <= LONGEST
        heard += [n for n in numbers if voiced[n]]
    assert heard == [n for n, is_voiced in enumerate(voiced) if is_voiced]


def test_a_pause_ends_a_long_passage_and_not_a_short_one() -> None:
    assert len(cut([(True, 100), (False, 12), (True, 100)])) == 1
    assert len(cut([(True, 400), (False, 12), (True, 100)])) == 2
    assert len(cut([(True, 30), (False, 40), (True, 30)])) == 2


def test_a_pause_is_no_part_of_a_word() -> None:
    frame_s = FRAME_SAMPLES / RATE_HZ
    clip = Clip(10 * RATE_HZ, np.zeros(0, np.float32), (False,) * 10 + (True,) * 10 + (False,) * 30)
    (first,) = tightened([TimedWord("one", 0.0, 50 * frame_s)], clip)
    assert first.start_s == 10 + 10 * frame_s
    assert first.end_s == 10 + 20 * frame_s
    (unheard,) = tightened([TimedWord("two", 0.96, 1.28)], clip)
    assert (unheard.start_s, unheard.end_s) == (10.96, 11.28)
