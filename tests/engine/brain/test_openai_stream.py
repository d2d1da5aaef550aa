"""What the chunks of an endpoint mean for the answer, without an endpoint."""

import pytest

from engine.brain.interface import BrainError
from engine.brain.openai_stream import CallDelta, ChoiceDelta, Chunk, StreamedAnswer, Usage
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


def test_an_answer_without_an_end_is_an_error() -> None:
    with pytest.raises(BrainError, match="broke off"):
        answer(delta(text="Good"))
