"""What the chunks of an endpoint mean for the answer, without an endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.brain.interface import BrainError
from engine.brain.openai_calls import CallJoiner
from engine.brain.openai_chunks import CallDelta, ChoiceDelta, Chunk, Usage
from engine.brain.openai_stream import StreamedAnswer
from engine.types import CallArguments, CallEnded, CallStarted, Finished, RawPiece, Thought


def answer(*chunks: Chunk) -> list[RawPiece]:
    stream = StreamedAnswer()
    pieces = [piece for chunk in chunks for piece in stream.feed(chunk)]
    return pieces + stream.finish()


def delta(**fields: object) -> Chunk:
    return Chunk((ChoiceDelta(**fields),))  # type: ignore[arg-type]


def test_thoughts_and_text_come_in_order_and_counts_at_the_end() -> None:
    pieces = answer(
        delta(thought="Hm. <think>"),
        delta(text="Good ", thought="So."),
        delta(text="day."),
        delta(finish_reason="stop"),
        Chunk(usage=Usage(9, 4, 3)),
    )
    assert pieces == [
        Thought("Hm. <think>"),
        Thought("So."),
        "Good ",
        "day.",
        Finished("stop", 9, 4, 3),
    ]


def test_calls_are_told_apart_by_their_index() -> None:
    pieces = answer(
        delta(calls=(CallDelta(0, "a", "clock", ""),)),
        delta(calls=(CallDelta(0, None, None, "{}"),)),
        delta(calls=(CallDelta(1, "b", "weather", '{"city":'),)),
        delta(calls=(CallDelta(1, None, None, '"Oslo"}'),)),
        delta(finish_reason="tool_calls"),
    )
    assert pieces == [
        CallStarted("clock"),
        CallArguments("{}"),
        CallEnded(),
        CallStarted("weather"),
        CallArguments('{"city":'),
        CallArguments('"Oslo"}'),
        CallEnded(),
        Finished("stop", 0, 0, 0),
    ]


def test_a_call_that_is_cut_at_the_limit_does_not_end() -> None:
    pieces = answer(
        delta(calls=(CallDelta(0, "a", "clock", '{"zo'),)), delta(finish_reason="length")
    )
    assert pieces == [CallStarted("clock"), CallArguments('{"zo'), Finished("length", 0, 0, 0)]


def test_an_answer_without_a_reason_for_its_end_is_whole() -> None:
    assert answer(delta(text="Good")) == ["Good", Finished("stop", 0, 0, 0)]


def test_no_answer_at_all_is_an_error() -> None:
    with pytest.raises(BrainError, match="nothing that can be read"):
        answer(Chunk())


@given(st.lists(st.sampled_from(["f", "g", "h"]), min_size=1, max_size=4), st.data())
def test_calls_with_ids_are_whole_in_whatever_order_their_pieces_come(
    names: list[str], data: st.DataObject
) -> None:
    written = [f'{{"number": {number}, "of": "{name}"}}' for number, name in enumerate(names)]
    left = [list(text) for text in written]
    joiner = CallJoiner()
    pieces: list[object] = []
    begun: set[int] = set()
    while any(left):
        at = data.draw(st.sampled_from([i for i, rest in enumerate(left) if rest]))
        piece, left[at] = "".join(left[at][:7]), left[at][7:]
        name = None if at in begun else names[at]
        begun.add(at)
        pieces += joiner.take(CallDelta(0, f"c{at}", name, piece))
    pieces += joiner.finish(cut=False)
    calls: list[tuple[str, str]] = []
    for piece_ in pieces:
        match piece_:
            case CallStarted(name):
                calls.append((name, ""))
            case CallArguments(text):
                calls[-1] = (calls[-1][0], calls[-1][1] + text)
    assert sorted(calls) == sorted(zip(names, written, strict=True))
    assert pieces.count(CallEnded()) == len(names)
