"""Word error rate: the distance and the spellings it looks through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.bench.word_errors import WordErrors, edit_distance, normalize_words, wer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", "hello world"),
        ("It's John's; don't.", "its johns dont"),
        ("an ill-disposed young man", "an ill disposed young man"),
        ("twenty-one cats and 21 dogs", "21 cats and 21 dogs"),
        ("Two hundred and five.", "205"),
        ("1,234,567", "1234567"),
        ("one thousand two hundred", "1200"),
        ("3 million and three million", "3000000 and 3000000"),
        ("two thousand thousand", "2000 thousand"),
        ("nineteen eighty four", "19 84"),
        ("seven four two", "7 4 2"),
        ("five hundred and counting", "500 and counting"),
        ("a hundred and one", "a hundred and 1"),
        ("$5 and 10 dollars", "5 dollars and 10 dollars"),
        ("50% or fifty percent", "50 percent or 50 percent"),
        ("3.5 metres", "3.5 metres"),
        ("the 1st and the 4th", "the first and the fourth"),
        ("Mister Smith is okay", "mr smith is ok"),
        ("zero", "0"),
        ("", ""),
        ("... -- !?", ""),
    ],
)
def test_one_spelling(text: str, words: str) -> None:
    assert normalize_words(text) == words.split()


@given(st.text())
def test_any_text_becomes_bare_words(text: str) -> None:
    words = normalize_words(text)
    assert all(word and word == word.strip() and word.lower() == word for word in words)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("", "a b", 2),
        ("a", "", 1),
    ],
)
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(a.split(), b.split()) == distance


@given(*[st.lists(st.sampled_from("abc"), max_size=6)] * 3)
def test_edit_distance_is_a_metric(a: list[str], b: list[str], c: list[str]) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def plain_distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return plain_distance(a[:-1], b[:-1])
    shorter = ((a[:-1], b), (a, b[:-1]), (a[:-1], b[:-1]))
    return 1 + min(plain_distance(*pair) for pair in shorter)


@given(*[st.lists(st.sampled_from(["one", "two", "naïve", "你好", "5"]), max_size=5)] * 2)
def test_the_distance_is_levenshteins(a: list[str], b: list[str]) -> None:
    assert edit_distance(a, b) == plain_distance(a, b)


def test_errors_of_all_pairs_are_summed() -> None:
    result = wer([("one two three", "1 2 3"), ("good morning", "good evening sir")])
    assert result == WordErrors(edits=2, words=5)
    assert result.rate == pytest.approx(0.4)
    assert wer([]).rate == 0.0


def test_errors_without_a_reference_have_no_rate() -> None:
    with pytest.raises(ZeroDivisionError):
        _ = wer([("", "you")]).rate
