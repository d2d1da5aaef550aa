"""What of an open turn's transcript is stable, and when the ear listens again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ear.partials import PartialPolicy, PartialTranscriber
from engine.types import Transcript

RATE = 16_000
TWO_AGREE = PartialPolicy(agreement=2)


def heard(*texts: str) -> Transcript:
    """The transcript after these hypotheses, one a second."""
    partials = PartialTranscriber(TWO_AGREE)
    for second, text in enumerate(texts, start=1):
        partials.hypothesis(text, second * RATE)
    return partials.transcript


@pytest.mark.parametrize(
    ("texts", "text", "stable"),
    [
        ([], "", ""),
        (["What is"], "What is", ""),
        (["What is the", "What is the cap"], "What is the cap", "What is the"),
        (["What is the", "What is the"], "What is the", "What is"),  # the last word may be cut
        (["what, is the", "What is The capital"], "What is The capital", "What is The"),
        (["I can't go", "I cant go on"], "I cant go on", "I cant go"),
        (["eight of spades", "ate of spades now"], "ate of spades now", ""),
        (["Well.", "Well, I think so"], "Well, I think so", "Well"),  # no comma yet: it may go
        (["a b c", "a b c d", "a x c d e"], "a x c d e", "a b c"),  # what was shown was wrong
        (["a b c", "a b c d", ""], "", "a b c"),
        (["a b c", "a b c d", "A, b - c, d e"], "a b c, d e", "a b c, d"),  # as it was shown
        (["a b", "a b c", "a b ... c - d"], "a b c d", "a b c"),
    ],
)
def test_agreed_words_are_stable(texts: list[str], text: str, stable: str) -> None:
    transcript = heard(*texts)
    assert (transcript.text, transcript.stable) == (text, stable)
    assert transcript.samples == len(texts) * RATE


def test_as_many_as_the_policy_says_must_agree() -> None:
    partials = PartialTranscriber(PartialPolicy(agreement=3))
    for second, (text, stable) in enumerate(
        [("a b c", ""), ("a b d", ""), ("a b d", "a b"), ("x b d e", "a b"), ("a b d e", "a b")], 1
    ):
        assert partials.hypothesis(text, second * RATE).stable == stable


WORDS = st.lists(st.sampled_from(["A", "a,", "b", "B.", "c", "-", "d?"]), max_size=8).map(" ".join)


@given(st.lists(WORDS, max_size=8))
def test_stable_text_never_shrinks_and_is_kept_by_the_same_words(texts: list[str]) -> None:
    partials, before = PartialTranscriber(TWO_AGREE), ""
    for second, text in enumerate(texts, start=1):
        transcript = partials.hypothesis(text, second * RATE)
        bare = re.sub(r"[^a-z ]", "", transcript.text.lower())
        if bare.startswith(re.sub(r"[^a-z ]", "", transcript.stable.lower())):
            assert transcript.text.startswith(transcript.stable)
        assert transcript.stable.startswith(before)
        assert transcript.stable == transcript.stable.rstrip(" ,.?-")
        before = transcript.stable


def test_exact_pass_replaces_everything() -> None:
    partials = PartialTranscriber(TWO_AGREE)
    partials.hypothesis("Eight of spades four", 2 * RATE)
    partials.hypothesis("Eight of spades for of clubs", 3 * RATE)
    assert partials.transcript.stable == "Eight of spades"
    exact = partials.exact("8 of spades, 4 of clubs.", 4 * RATE)
    assert exact == Transcript("8 of spades, 4 of clubs.", "8 of spades, 4 of clubs.", 4 * RATE)
    assert partials.transcript == exact


def test_exact_pass_keeps_the_spelling_of_stable_words() -> None:
    partials = PartialTranscriber(TWO_AGREE)
    partials.hypothesis("Eight of spades four", 2 * RATE)
    partials.hypothesis("Eight of spades for of clubs", 3 * RATE)
    exact = partials.exact("eight, of Spades, four of clubs.", 4 * RATE)
    assert exact.text == exact.stable == "Eight of spades, four of clubs."


def test_turn_goes_on_after_an_exact_pass() -> None:
    partials = PartialTranscriber(TWO_AGREE)
    partials.exact("I would like to.", RATE)
    transcript = partials.hypothesis("I would like to learn gui", 2 * RATE)
    assert transcript.text == "I would like to learn gui"
    assert transcript.stable == "I would like to"
    transcript = partials.hypothesis("I would like to learn guitar now", 3 * RATE)
    assert transcript.stable == "I would like to learn"


def test_late_texts_change_nothing() -> None:
    partials = PartialTranscriber()
    known = partials.exact("What is the capital of France?", 3 * RATE)
    assert partials.hypothesis("What is the cap", 2 * RATE) == known
    late = partials.exact("What is", RATE)
    assert late == Transcript("What is", "What is", RATE)
    assert partials.transcript == known


def test_head_of_a_long_window_is_committed() -> None:
    partials = PartialTranscriber(TWO_AGREE)
    partials.hypothesis("one two three four five", 18 * RATE)
    partials.hypothesis("one two three four five six", 20 * RATE)
    partials.commit("One, two, three.", 9 * RATE)
    assert partials.window_start == 9 * RATE
    now = partials.transcript
    assert (now.text, now.stable) == ("one two three four five six", "one two three four five")
    now = partials.hypothesis("Four five six seven", 22 * RATE)
    assert now.stable == "one two three four five"
    now = partials.hypothesis("Four five six seven eight", 23 * RATE)
    assert now.text == "one two three four five six seven eight"
    assert now.stable == "one two three four five six seven"
    exact = partials.exact("Four, five, six, seven, eight.", 24 * RATE)
    assert exact.text == exact.stable == "one two three four five six seven, eight."


def test_a_committed_head_is_stable_at_once() -> None:
    partials = PartialTranscriber()
    partials.hypothesis("one two three four", 18 * RATE)
    partials.commit("One, two, three.", 9 * RATE)
    assert partials.transcript == Transcript("One, two, three. four", "One, two, three", 18 * RATE)


def test_commit_beyond_the_known_words_leaves_none_open() -> None:
    partials = PartialTranscriber()
    partials.hypothesis("one two", RATE)
    partials.commit("One two three.", 9 * RATE)
    assert partials.transcript == Transcript("One two three.", "One two three", 9 * RATE)
    with pytest.raises(ValueError, match="not after"):
        partials.commit("again", 9 * RATE)
    assert partials.transcript.text == "One two three."


def test_exact_pass_begun_before_a_commit_covers_it() -> None:
    partials = PartialTranscriber()
    partials.commit("One two.", 9 * RATE)
    partials.commit("Three four.", 18 * RATE)
    assert partials.hypothesis("stale", 30 * RATE, start=9 * RATE).text == "One two. Three four."
    exact = partials.exact("Three, four, five.", 25 * RATE, start=9 * RATE)
    assert exact.text == "One two. Three four, five."
    assert partials.window_start == 9 * RATE


def test_partials_are_spaced_by_time_and_by_cost() -> None:
    partials = PartialTranscriber(PartialPolicy(min_new_samples=9_600, max_load=0.2))
    assert not partials.due(9_599)
    assert partials.due(9_600)
    partials.hypothesis("a", 9_600, cost_s=0.05)
    assert not partials.due(2 * 9_600 - 1)
    assert partials.due(2 * 9_600)
    partials.hypothesis("a b", 20_000, cost_s=0.3)
    assert not partials.due(20_000 + 23_999)
    assert partials.due(20_000 + 24_000)
    partials.exact("a b c", 30_000)
    assert not partials.due(39_599)
    assert partials.due(39_600)


@given(fixed=st.floats(0.0, 0.2), per_second=st.floats(0.001, 0.1), seconds=st.integers(5, 90))
def test_load_and_window_stay_bounded(fixed: float, per_second: float, seconds: int) -> None:
    """A simulated turn: the ear's work before the last partial is at most the allowed share."""
    policy = PartialPolicy()
    partials, work, begun = PartialTranscriber(policy), [], []
    for samples in range(0, seconds * RATE, 512):
        if not partials.due(samples):
            continue
        if span := partials.commit_range(samples):
            assert partials.window_start + policy.min_commit_samples == span[0] < span[1]
            partials.commit("word", span[1])
        window = samples - partials.window_start
        assert window <= policy.max_window_samples
        work.append(fixed + per_second * window / RATE)
        begun.append(samples)
        partials.hypothesis("word", samples, work[-1])
    share = sum(work[:-1]) / ((begun[-1] - begun[0]) / RATE) if len(work) > 1 else 0.0
    assert share <= policy.max_load + 1e-3
