"""Deltas of the caller's words, and whether they add up to the transcript."""

from hypothesis import given
from hypothesis import strategies as st

from duplex.protocol.server_events import ServerEvent, TranscriptionDelta
from duplex.protocol.shown_words import ShownWords


def said(events: list[ServerEvent]) -> list[str]:
    return [event.delta for event in events if isinstance(event, TranscriptionDelta)]


def test_words_go_on_and_the_rest_comes_with_the_transcript() -> None:
    words = ShownWords()
    assert said(words.show("a", "What is")) == ["What is"]
    assert said(words.show("a", "What is the")) == [" the"]
    assert said(words.show("a", "What is the")) == []
    last, agree = words.complete("a", "What is the capital?")
    assert (said(last), agree) == ([" capital?"], True)


def test_a_word_that_was_corrected_is_not_sent_twice_and_is_told() -> None:
    words = ShownWords()
    words.show("a", "Eight of spades for")
    assert said(words.show("a", "Eight of spades, four")) == []
    last, agree = words.complete("a", "Eight of spades, four of clubs.")
    assert (last, agree) == ([], False)


def test_turns_are_kept_apart_and_short_ones_come_as_one_delta() -> None:
    words = ShownWords()
    words.show("a", "One")
    last, agree = words.complete("b", "Two.")
    assert (said(last), agree) == (["Two."], True)
    assert words.complete("c", "") == ([], True)
    last, agree = words.complete("a", "One.")
    assert (said(last), agree) == (["."], True)


@given(st.lists(st.text(max_size=4), max_size=6), st.text(max_size=6))
def test_deltas_add_up_or_it_is_said_so(partials: list[str], transcript: str) -> None:
    words, sent = ShownWords(), ""
    for partial in partials:
        sent += "".join(said(words.show("a", partial)))
    last, agree = words.complete("a", transcript)
    assert agree == (sent + "".join(said(last)) == transcript)
