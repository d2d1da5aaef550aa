"""The queue towards one client: order, bounds, and what is dropped when."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from duplex.dialogue.outbox import Journal, Outbox
from duplex.errors import CallOverrun, ResumeError
from duplex.protocol.server_events import OutputAudioDelta, OutputTextDone
from duplex.protocol.shapes import ServerMessage


async def drain(outbox: Outbox) -> list[ServerMessage]:
    outbox.close()
    return [message async for message in outbox.messages()]


async def test_order_is_kept() -> None:
    outbox = Outbox(100)
    for message in "abc":
        outbox.put(message)
    assert await drain(outbox) == ["a", "b", "c"]


async def test_past_the_bound_it_raises_and_keeps_what_it_had() -> None:
    outbox = Outbox(10)
    outbox.put("12345678")
    with pytest.raises(CallOverrun, match="8 bytes"):
        outbox.put("abc")
    assert await drain(outbox) == ["12345678"]


async def test_dropping_audio_leaves_control_and_other_replies() -> None:
    outbox = Outbox(100)
    outbox.put("audio1", audio_of="r1")
    outbox.put("control")
    outbox.put("audio2", audio_of="r2")
    outbox.drop_audio("r1")
    assert await drain(outbox) == ["control", "audio2"]


async def test_a_producer_waits_for_room_until_the_reader_takes_something() -> None:
    outbox = Outbox(10)
    outbox.put("123456")
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    reader = outbox.messages()
    assert await anext(reader) == "123456"
    await waiting
    await reader.aclose()


async def test_a_reader_that_waits_gets_what_is_put_later() -> None:
    outbox = Outbox(10)
    reader = outbox.messages()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    outbox.put("late")
    assert await waiting == "late"
    await reader.aclose()


def event(number: int, size: int = 0) -> str:
    return f'{{"type":"x","event_id":"e{number}","text":"{"x" * size}"}}'


def test_a_journal_gives_what_followed_an_event() -> None:
    journal = Journal(10_000)
    for number in range(5):
        journal.note(event(number))
    assert journal.after("e2") == [event(3), event(4)]
    assert journal.after("e4") == []
    with pytest.raises(ResumeError):
        journal.after("e5")


def test_a_journal_forgets_the_oldest() -> None:
    journal = Journal(3 * len(event(0, 100)))
    for number in range(5):
        journal.note(event(number, 100))
    assert journal.after("e2") == [event(3, 100), event(4, 100)]
    with pytest.raises(ResumeError):
        journal.after("e1")


async def test_taking_is_cancelled_without_loss() -> None:
    outbox = Outbox(10)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    outbox.put("a")
    assert await outbox.take() == "a"
    outbox.close()
    assert await outbox.take() is None


async def test_typed_events_are_bounded_by_their_audio_and_texts() -> None:
    def delta(audio: bytes) -> OutputAudioDelta:
        return OutputAudioDelta(response_id="r", item_id="i", delta=audio)

    outbox = Outbox(10_000)
    outbox.put(delta(bytes(4000)), audio_of="r")
    outbox.put(OutputTextDone(response_id="r", item_id="i", text="x" * 5000))
    with pytest.raises(CallOverrun):
        outbox.put(delta(bytes(4000)), audio_of="r")
    outbox.drop_audio("r")
    outbox.put(delta(bytes(4000)), audio_of="r2")
    kinds = [type(event) async for event in drained(outbox)]
    assert kinds == [OutputTextDone, OutputAudioDelta]


def drained(outbox: Outbox) -> AsyncGenerator[ServerMessage, None]:
    outbox.close()
    return outbox.messages()
