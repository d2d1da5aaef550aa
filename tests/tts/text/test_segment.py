from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.text.segment import MAX_CHARS, Segmenter

WORDS = [
         "the", "Dr.", "3,000", "3.14", "10:30", "e.g.", "U.S.", "a@b.com", "http://a.io/b?c,d",
         "and", "which", "dog,", "cat.", "why?", "so;", "—", "...", "Nov", "22,", "2026", "\n",
         "- x", "`a, b`", "```\nx. y\n```\n", "1.", "because", "word", "[a, b](c.d)",
         "😀"]  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join))


def segments(*pieces: str) -> list[str]:
    segmenter = Segmenter()
    return [s for piece in pieces for s in segmenter.feed(piece)] + segmenter.finish()


@given(texts, st.data())
def test_any_split_gives_the_same_segments_and_all_the_text(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert segments(*pieces) == segments(text)
    assert "".join(segments(text)) == text
    assert "" not in segments(text)


@given(st.text(st.characters(exclude_characters="`"), min_size=MAX_CHARS))
def test_no_segment_is_longer_than_the_bound(text: str) -> None:
    assert all(len(s) <= MAX_CHARS for s in segments(text))


@given(texts)
def test_later_text_never_changes_a_segment(text: str) -> None:
    segmenter = Segmenter()
    early = segmenter.feed(text)
    assert segments(text + " More. ")[: len(early)] == early


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the first segment: at the first mark after two words, at once
        ("I'm sorry, but", ["I'm sorry,", " but"]),
        ("Well, that is, ", ["Well, that is,", " "]),
        ("Sure! The", ["Sure!", " The"]),
        ("Paris is it. The", ["Paris is it. ", "The"]),
        # no mark: before a preposition or conjunction after four words
        ("The train leaves early at noon", ["The train leaves early ", "at noon"]),
        ("Python is a programming language that was created by", [
            "Python is a programming language ", "that was created by"]),
        # none at all: after ten words
        ("one two three four five six seven eight nine ten eleven", [
            "one two three four five six seven eight nine ", "ten eleven"]),
        # not between the two
        ("It is one of the very best", ["It is one of the very best"]),
    ],
)  # fmt: skip
def test_first_segment(text: str, expected: list[str]) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Costs 1,000,000 now",
        "Pi: 3.14159",
        "At 10:30",
        "Ask Dr. Smith",
        "Fruit, e.g. plums",
        "The U.S. army",
        "J. R. R. Tolkien",
        "See https://a.io/b?c=d,e;f!g today",
        "Mail me.too@ex-ample.com",
        "Use `f(a, b); g()` here",
        "Read [this, or that](http://x.y/z,w)",
        "On Nov 22, 2026",
        "At 3 p.m. sharp",
    ],
)
def test_no_cut_inside_what_belongs_together(text: str) -> None:
    assert segments(text) == [text]


@pytest.mark.parametrize("piece", ["3", "3,", "costs $3", "costs $3,", "it is 10:", "hello Dr."])
def test_waits_for_what_may_go_on(piece: str) -> None:
    assert Segmenter().feed(piece) == []


def test_a_comma_after_a_word_does_not_wait() -> None:
    assert Segmenter().feed("If it rains,") == ["If it rains,"]


def test_later_segments_are_sentences() -> None:
    rest = ["The second one, like this, may be cut too, ", "since it is heard soon. "]
    later = ["The third, however, goes on, with commas, to its end. ", "So it does."]
    text = "First one, then. " + "".join(rest) + "".join(later)
    assert segments(text)[-2:] == later


def test_a_long_later_sentence_is_cut_at_a_clause() -> None:
    long = "a b c d e f g h i j k l m n o p q r, s t u v w x y z a b c d e f g h. "
    cut = segments("One is. Two is. " + long)
    assert cut[2] == "a b c d e f g h i j k l m n o p q r,"


def test_lines_and_code_blocks_stand_alone() -> None:
    block = "```python\nprint('a, b. c')\n# Hi. There.\n```\n"
    text = f"Like this:\n{block}\n- one\n- two\n1. Mix it.\n"
    assert segments(text) == ["Like this:\n", block, "\n- one\n", "- two\n", "1. Mix it.\n"]


def test_finish_gives_the_rest_once() -> None:
    segmenter = Segmenter()
    assert segmenter.feed("No end") == []
    assert segmenter.finish() == ["No end"]
    assert segmenter.finish() == []
