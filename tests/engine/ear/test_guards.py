"""The guards against invented text, and where long audio is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ear.evidence import voiced_ms
from engine.ear.guards import (
    Decoded,
    collapse_repeats,
    is_beyond_doubt,
    is_loop,
    is_speech,
    max_tokens,
    quietest_point,
    split_points,
)


def decoded(
    text: str = "hello",
    *,
    log_probability: float = -0.2,
    no_speech: float = 0.1,
    ended: bool = True,
) -> Decoded:
    return Decoded(tuple(range(len(text.split()))), text, log_probability, no_speech, ended)


@pytest.mark.parametrize(
    ("segment", "speech"),
    [
        (decoded(), True),
        (decoded(log_probability=-1.4), True),  # hard to hear, but speech
        (decoded(no_speech=0.9), True),  # the model doubts, but is sure of the words
        (decoded("7", log_probability=-1.8, no_speech=0.67), True),  # a single word
        (decoded("thanks", log_probability=-1.3, no_speech=0.9), False),
        (decoded("thanks", log_probability=-2.2, no_speech=0.6), False),
        (decoded("You.", log_probability=-1.3, no_speech=0.6), False),
        (decoded(".", log_probability=-1.3, no_speech=0.6), False),
        (decoded(""), False),
    ],
)
def test_both_signs_are_needed_to_call_it_noise(segment: Decoded, speech: bool) -> None:
    assert is_speech(segment, 1.0) is speech


@pytest.mark.parametrize(
    ("segment", "voiced_ms", "seconds", "speech"),
    [
        (decoded("Zero.", log_probability=-2.2, no_speech=0.63), 320, 0.8, True),
        (decoded("X", log_probability=-4.0, no_speech=0.9), 160, 0.8, True),
        (decoded("X", log_probability=-4.0, no_speech=0.9), 128, 0.8, False),
        (decoded("X", log_probability=-4.0, no_speech=0.9), 320, 5.0, False),  # too long for that
        (decoded("You", log_probability=-2.6, no_speech=0.6), 320, 0.6, True),
        (decoded("you", log_probability=-2.6, no_speech=0.8), 320, 0.6, False),
        (decoded("...", log_probability=-0.3, no_speech=0.1), 320, 0.6, False),
        (decoded("Yes.", log_probability=-0.73, no_speech=0.29), 32, 5.0, False),  # a baby
        (decoded("Yes.", log_probability=-0.73, no_speech=0.29), 64, 5.0, True),
        (decoded("Yes.", log_probability=-0.3, no_speech=0.29), 0, 5.0, True),
        (decoded("no, " * 30, log_probability=-0.2, no_speech=0.6), 320, 2.0, False),
        (decoded("no, " * 30, log_probability=-0.2, no_speech=0.2), 320, 2.0, True),
    ],
)
def test_a_voice_proves_short_words_and_without_one_noise_says_nothing(
    segment: Decoded, voiced_ms: int, seconds: float, speech: bool
) -> None:
    assert is_speech(segment, seconds, voiced_ms) is speech


def test_only_clear_words_need_no_voice() -> None:
    assert is_beyond_doubt(decoded())
    assert not is_beyond_doubt(decoded(log_probability=-0.7))
    assert not is_beyond_doubt(decoded(no_speech=0.6))
    assert not is_beyond_doubt(decoded("and then " * 30))
    assert not is_beyond_doubt(decoded(""))


def test_the_longest_voice_is_measured_in_one_piece() -> None:
    probabilities = np.array([0.9, 0.9, 0.1, 0.5, 0.6, 0.7, 0.2, 0.9], np.float32)
    assert voiced_ms(probabilities) == 96
    assert voiced_ms(np.zeros(0, np.float32)) == 0


@pytest.mark.parametrize(
    ("segment", "loop"),
    [
        (decoded("no no no no"), False),
        (decoded("It was the best of times, it was the worst of times."), False),
        (decoded("and then " * 30), True),
        (decoded("any text", ended=False), True),
        (decoded(""), False),
    ],
)
def test_loops_are_told_by_length_or_repetition(segment: Decoded, loop: bool) -> None:
    assert is_loop(segment) is loop


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([], []),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 2], [1, 2, 2]),
        ([1, 2, 2, 2], [1, 2]),
        ([9, 1, 2, 1, 2, 1, 2], [9, 1, 2]),
        ([9, 1, 2, 1, 2, 1, 2, 1], [9, 1, 2]),
        ([1, 1, 1, 5], [1, 1, 1, 5]),  # only a tail can be a loop
    ],
)
def test_repeated_tail_is_cut_to_one(tokens: list[int], kept: list[int]) -> None:
    assert list(collapse_repeats(tokens)) == kept


@given(
    head=st.lists(st.integers(0, 3), max_size=6),
    unit=st.lists(st.integers(4, 9), min_size=1, max_size=5, unique=True),
    repeats=st.integers(3, 6),
    extra=st.integers(0, 4),
)
def test_any_loop_is_cut_to_head_and_one_unit(
    head: list[int], unit: list[int], repeats: int, extra: int
) -> None:
    looped = head + unit * repeats + unit[: min(extra, len(unit) - 1)]
    assert list(collapse_repeats(looped)) == head + unit


def test_token_bound_is_generous_and_bounded() -> None:
    assert max_tokens(0.0) == 16
    assert max_tokens(5.0) == 66  # speech of 5 s has about 20
    assert max_tokens(30.0) == max_tokens(300.0) == 224


def test_quietest_point_is_the_middle_of_the_pause() -> None:
    pcm = np.ones(32_000, np.float32)
    pcm[20_000:21_600] = 0.0
    assert quietest_point(pcm, 16_000, 8_000, 32_000) == 20_800
    assert quietest_point(pcm, 16_000, 8_000, 9_600) == 8_800  # as good as any
    for first, last in [(-1, 16_000), (0, 32_001), (100, 1_699)]:
        with pytest.raises(ValueError, match="no 100 ms"):
            quietest_point(pcm, 16_000, first, last)


@given(
    length=st.integers(0, 40_000),
    pauses=st.lists(st.integers(0, 39_000), max_size=5),
)
def test_pieces_are_short_enough_and_none_is_lost(length: int, pauses: list[int]) -> None:
    rate, longest, earliest = 1_000, 9_000, 5_000
    pcm = np.random.default_rng(0).uniform(0.5, 1.0, length).astype(np.float32)
    for pause in pauses:
        pcm[pause : pause + 100] = 0.0
    cuts = split_points(pcm, rate, longest, earliest)
    pieces = np.split(pcm, cuts)
    np.testing.assert_array_equal(np.concatenate(pieces), pcm)
    assert all(len(piece) <= longest for piece in pieces)
    assert all(len(piece) > earliest for piece in pieces[:-1])
