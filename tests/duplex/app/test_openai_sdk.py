"""The openai SDK as it comes from its package, against a real server: the orders that its users
rely on."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from duplex.audio.formats import encode_pcm16
from duplex.testing.engine import Script
from engine.types import CallArguments, CallEnded, CallStarted, Speech
from tests._support.servers import FAST, scripted_server

pytestmark = pytest.mark.realtime

LONG = Script(
    says=(tuple(Speech(f"This is sentence {n}. ") for n in range(50)),), ear_s=0.001, piece_s=0.001
)
Events = list[Any]


@contextlib.asynccontextmanager
async def sdk_call(script: Script = FAST) -> AsyncIterator[AsyncRealtimeConnection]:
    """A call opened as the SDK's documentation shows, with only the address changed."""
    async with scripted_server(script) as (url, _):
        base = url.removesuffix("/realtime")
        client = AsyncOpenAI(
            api_key="unused", base_url=base.replace("ws", "http", 1), websocket_base_url=base
        )
        async with client, client.realtime.connect(model="any") as connection:
            assert (await connection.recv()).type == "session.created"
            yield connection


def audio(seconds: float, level: float = 0.3) -> str:
    tone = level * np.sin(2 * np.pi * 300 / 24_000 * np.arange(round(seconds * 24_000)))
    return base64.b64encode(encode_pcm16(tone)).decode()


async def until(connection: AsyncRealtimeConnection, kind: str) -> Events:
    """All events up to the first of a type."""
    events: Events = []
    async with asyncio.timeout(90):
        while not events or events[-1].type != kind:
            events.append(await connection.recv())
    return events


async def speak(connection: AsyncRealtimeConnection) -> None:
    await connection.input_audio_buffer.append(audio=audio(1.0))
    await connection.input_audio_buffer.append(audio=audio(0.6, level=0.0))


async def manual(connection: AsyncRealtimeConnection) -> None:
    await connection.session.update(
        session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    )
    await until(connection, "session.updated")


async def test_a_server_vad_turn() -> None:
    async with sdk_call() as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"transcription": {"model": "whisper-1"}}},
            }
        )
        await speak(connection)
        events = await until(connection, "response.done")
        kinds = [event.type for event in events]
        order = [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "response.created",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.done",
        ]
        assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
        said = "".join(e.delta for e in events if e.type.endswith("audio_transcript.delta"))
        assert said == "It is ten. Time for tea."
        heard = [e.transcript for e in events if e.type.endswith("transcription.completed")]
        assert heard == ["What time is it?"]
        pcm = b"".join(
            base64.b64decode(e.delta) for e in events if e.type == "response.output_audio.delta"
        )
        assert len(pcm) > 24_000  # more than half a second
        assert events[-1].response.status == "completed"


async def test_a_manual_turn() -> None:
    async with sdk_call() as connection:
        await manual(connection)
        await connection.input_audio_buffer.append(audio=audio(1.0))
        await connection.input_audio_buffer.commit()
        events = await until(connection, "conversation.item.done")
        assert [e.type for e in events] == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        await connection.response.create()
        assert (await until(connection, "response.done"))[-1].response.status == "completed"


async def test_a_text_response() -> None:
    async with sdk_call() as connection:
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello?"}],
            }
        )
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == "It is ten. Time for tea."
        assert events[-1].response.usage.output_tokens == 2


async def test_a_function_call_and_the_answer_from_its_output() -> None:
    script = Script(
        says=(
            (CallStarted("clock"), CallArguments('{"zone": "utc"}'), CallEnded()),
            (Speech("It is ten."),),
        ),
        ear_s=0.001,
        piece_s=0.001,
    )
    async with sdk_call(script) as connection:
        tool = {"type": "function", "name": "clock", "parameters": {"type": "object"}}
        await connection.session.update(session={"type": "realtime", "tools": [tool]})  # type: ignore[list-item]
        await speak(connection)
        [call] = (await until(connection, "response.done"))[-1].response.output
        assert (call.type, call.name, call.arguments) == (
            "function_call",
            "clock",
            '{"zone": "utc"}',
        )
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "10:00"}
        )
        await connection.response.create()
        done = (await until(connection, "response.done"))[-1].response
        assert done.output[0].content[0].transcript == "It is ten."


async def test_a_function_whose_arguments_are_no_object_is_refused() -> None:
    tool: Any = {"type": "function", "name": "clock", "parameters": {"type": "array"}}
    async with sdk_call() as connection:
        await connection.session.update(
            session={"type": "realtime", "tools": [tool]}, event_id="mine"
        )
        error = (await until(connection, "error"))[-1].error
        assert (error.code, error.event_id) == ("invalid_function_parameters", "mine")
        assert error.param == "session.tools[0].parameters"
        await connection.response.create(response={"tools": [tool]})
        error = (await until(connection, "error"))[-1].error
        assert error.param == "response.tools[0].parameters"
        await connection.response.create()  # the call goes on
        assert (await until(connection, "response.done"))[-1].response.status == "completed"


async def test_cancel() -> None:
    async with sdk_call(LONG) as connection:
        await speak(connection)
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        done = (await until(connection, "response.done"))[-1].response
        assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")


async def test_barge_in_with_truncate() -> None:
    async with sdk_call(LONG) as connection:
        await speak(connection)
        item = (await until(connection, "response.output_audio.delta"))[-1].item_id
        await speak(connection)
        done = (await until(connection, "response.done"))[-1].response
        assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
        await connection.conversation.item.truncate(
            item_id=item, content_index=0, audio_end_ms=10_000_000
        )
        truncated = (await until(connection, "conversation.item.truncated"))[-1]
        assert truncated.item_id == item
        await connection.conversation.item.retrieve(item_id=item)
        retrieved = (await until(connection, "conversation.item.retrieved"))[-1].item
        assert retrieved.status == "incomplete"


async def test_errors_carry_the_clients_event_id_and_the_call_goes_on() -> None:
    async with sdk_call() as connection:
        await connection.response.cancel(event_id="mine")
        error = (await until(connection, "error"))[-1].error
        assert (error.event_id, error.code) == ("mine", "response_cancel_not_active")
        await manual(connection)
        await connection.input_audio_buffer.commit()
        error = (await until(connection, "error"))[-1].error
        assert error.code == "input_audio_buffer_commit_empty"
        await connection.conversation.item.retrieve(item_id="nothing")
        error = (await until(connection, "error"))[-1].error
        assert error.code == "item_retrieve_invalid_item_id"
        await connection.input_audio_buffer.append(audio=audio(1.0))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        assert (await until(connection, "response.done"))[-1].response.status == "completed"


async def test_a_recording_in_an_item_is_transcribed_and_answered() -> None:
    async with sdk_call() as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "any"}}}}
        )
        content: Any = [
            {"type": "input_text", "text": "Listen."},
            {"type": "input_audio", "audio": audio(1.0)},
        ]
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content, "id": "recorded"}
        )
        await connection.response.create()
        events = await until(connection, "response.done")
        (heard,) = (e for e in events if e.type.endswith("input_audio_transcription.completed"))
        assert (heard.item_id, heard.content_index) == ("recorded", 1)
        assert heard.transcript == "What time is it?"
        assert events[-1].response.status == "completed"
        await connection.conversation.item.retrieve(item_id="recorded")
        kept = (await until(connection, "conversation.item.retrieved"))[-1].item
        assert [part.type for part in kept.content] == ["input_text", "input_audio"]
        await connection.conversation.item.delete(item_id="recorded")
        assert (await until(connection, "conversation.item.deleted"))[-1].item_id == "recorded"
