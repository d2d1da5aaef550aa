import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.thought_filter import ThoughtFilter
from engine.types import Speech, Thought


def run(*texts: str) -> tuple[str, str]:
    """All speech and all thoughts of a stream."""
    thoughts = ThoughtFilter()
    pieces = [piece for text in texts for piece in thoughts.feed(text)] + thoughts.finish()
    assert all(piece.text for piece in pieces)
    return (
        "".join(piece.text for piece in pieces if isinstance(piece, Speech)),
        "".join(piece.text for piece in pieces if isinstance(piece, Thought)),
    )


@pytest.mark.parametrize(
    ("text", "speech", "thought"),
    [
        ("Hello there.", "Hello there.", ""),
        ("<think>sum</think>It is four.", "It is four.", "sum"),
        ("Well, <think>hm</think>yes.", "Well, yes.", "hm"),
        ("<think>never closed", "", "never closed"),
        ("stray</think> close", "stray close", ""),
        ("<think>a<think>b</think>c</think>d", "d", "abc"),
        ("<think>\n<think>a</think>answer", "answer", "\na"),
        ("<think>a</think></think>b", "b", "a"),
        ("<THINK>a</Think>b", "b", "a"),
        ("<thinking>a</thinking>b", "b", "a"),
        ("`<think>` in code", "`", "` in code"),
        ("1 < 2 and <thin ice>", "1 < 2 and <thin ice>", ""),
        ("ends in <thi", "ends in <thi", ""),
        ("<think>ends in </thi", "", "ends in </thi"),
        ("<th\u0130nk>a", "<th\u0130nk>a", ""),  # a dotted capital I is not an i
        ("<thin\u212a>a", "<thin\u212a>a", ""),  # nor is the Kelvin sign a k
    ],
)
def test_examples(text: str, speech: str, thought: str) -> None:
    assert run(text) == (speech, thought)
    assert run(*text) == (speech, thought)


PARTS = (
    *("<think>", "</think>", "<THINKING>", "</thinking>", "<", "</", "think", ">", " ", "\n"),
    *("hello", "é", "<think", "\u0130", "\u212a"),
)
fragments = st.lists(st.sampled_from(PARTS)).map("".join)


@given(fragments | st.text(), st.data())
def test_any_split_gives_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert run(*parts) == run(text)


@given(
    st.lists(st.tuples(st.text("abc <>/\n"), st.text("XYZ <>/\n"))),
    st.sampled_from(["think", "THINK", "Thinking"]),
    st.integers(1, 5),
)
def test_what_is_inside_is_never_spoken_and_nothing_outside_is_lost(
    blocks: list[tuple[str, str]], tag: str, size: int
) -> None:
    text = "".join(f"{outside}<{tag}>{inside}</{tag}>" for outside, inside in blocks)
    speech, thought = run(*(text[i : i + size] for i in range(0, len(text), size)))
    assert speech == "".join(outside for outside, _ in blocks)
    assert thought == "".join(inside for _, inside in blocks)


@given(fragments)
def test_only_tags_vanish(text: str) -> None:
    thoughts = ThoughtFilter()
    pieces = thoughts.feed(text) + thoughts.finish()
    assert "".join(piece.text for piece in pieces) == re.sub(
        r"</?think(ing)?>", "", text, flags=re.IGNORECASE | re.ASCII
    )


def test_held_back_text_is_as_short_as_a_tag() -> None:
    thoughts = ThoughtFilter()
    assert thoughts.feed("so <thinki") == [Speech("so ")]
    assert thoughts.feed("ng about it> yes") == [Speech("<thinking about it> yes")]


def test_a_finished_filter_starts_anew() -> None:
    thoughts = ThoughtFilter()
    thoughts.feed("<think>cut off by barge-in")
    assert thoughts.finish() == []
    assert thoughts.feed("Hello.") == [Speech("Hello.")]
