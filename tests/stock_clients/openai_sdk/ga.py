"""The openai SDK's realtime client, in the shape of the GA API."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from scenario import (
    ANSWER,
    GREETING,
    HEARD,
    HEARD_MS,
    KEY,
    PLAYED_S,
    PRESENT,
    QUESTION,
    WEATHER,
    check,
    check_cut,
    pcm,
    run,
    speech,
)

WEATHER_TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "How the weather is.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TRANSCRIBED = {"input": {"transcription": {"model": "whisper-1"}}}


@contextlib.asynccontextmanager
async def call(url: str) -> AsyncIterator[AsyncRealtimeConnection]:
    """A call opened as the SDK's documentation shows, with only the address changed."""
    base = url.removesuffix("/realtime")
    client = AsyncOpenAI(
        api_key=KEY, base_url=base.replace("ws", "http", 1), websocket_base_url=base
    )
    async with client, client.realtime.connect(model="any") as connection:
        check((await connection.recv()).type == "session.created", "no greeting of the server's")
        yield connection


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """All events up to the first of a type."""
    events: list[Any] = []
    while not events or events[-1].type != kind:
        events.append(await connection.recv())
        check(events[-1].type != "error", events[-1])
    return events


async def update(connection: AsyncRealtimeConnection, **session: Any) -> Any:
    await connection.session.update(session={"type": "realtime", **session})
    return (await until(connection, "session.updated"))[-1].session


async def say(connection: AsyncRealtimeConnection, pause: float = 0.8) -> None:
    async for chunk in speech(pause=pause):
        await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())


def words(events: list[Any]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_audio_transcript.delta")


def seconds(events: list[Any]) -> float:
    deltas = [e.delta for e in events if e.type == "response.output_audio.delta"]
    return sum(len(base64.b64decode(delta)) for delta in deltas) / 48_000


async def greeting(url: str) -> None:
    async with call(url) as connection:
        await connection.response.create(response={"instructions": "Greet the caller."})
        events = await until(connection, "response.done")
        check(words(events) == GREETING, words(events))
        check(seconds(events) > 0.5, seconds(events))
        check(events[-1].response.status == "completed", events[-1])


async def spoken_turn(url: str) -> None:
    async with call(url) as connection:
        session = await update(connection, audio=TRANSCRIBED)
        check(session.audio.input.transcription.model == "whisper-1", session)
        await say(connection)
        events = await until(connection, "response.done")
        heard = [e.transcript for e in events if e.type.endswith("transcription.completed")]
        check(heard == [QUESTION], heard)
        check(words(events) == ANSWER, words(events))
        check(seconds(events) > 0.5, seconds(events))


async def barge_in(url: str) -> None:
    async with call(url) as connection:
        await say(connection)
        item = (await until(connection, "response.output_audio.delta"))[-1].item_id
        await asyncio.sleep(PLAYED_S)
        speaking = asyncio.create_task(say(connection))
        await until(connection, "input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(
            item_id=item, content_index=0, audio_end_ms=HEARD_MS
        )
        events = await until(connection, "response.done")
        check(events[-1].response.status_details.reason == "turn_detected", events[-1])
        events += await until(connection, "response.done")
        await speaking
        cuts = [e.audio_end_ms for e in events if e.type == "conversation.item.truncated"]
        check(cuts[-1:] == [HEARD_MS], cuts)
        check(words(events) == ANSWER, words(events))
        await connection.conversation.item.retrieve(item_id=item)
        kept = (await until(connection, "conversation.item.retrieved"))[-1].item
        check_cut(kept.content[0].transcript, HEARD)


async def goes_on(url: str) -> None:
    async with call(url) as connection:
        await update(connection, audio=TRANSCRIBED)
        await say(connection, 0.4)
        events = await until(connection, "response.created")
        await say(connection)
        while [e.type for e in events].count("response.done") < 2:
            events += await until(connection, "response.done")
        gone = {e.item_id for e in events if e.type == "conversation.item.deleted"}
        added = [e.item for e in events if e.type == "conversation.item.added"]
        roles = sorted(item.role for item in added if item.id not in gone)
        check(roles == ["assistant", "user"], roles)
        heard = [e.transcript for e in events if e.type.endswith("transcription.completed")]
        check(heard[-1] == PRESENT, heard)


async def tool_call(url: str) -> None:
    async with call(url) as connection:
        await update(connection, tools=[WEATHER_TOOL])
        await say(connection)
        events = await until(connection, "response.done")
        (asked,) = (e for e in events if e.type == "response.function_call_arguments.done")
        check(
            (asked.name, json.loads(asked.arguments)) == ("get_weather", {"city": "Paris"}), asked
        )
        deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
        check("".join(deltas) == asked.arguments, deltas)
        output = events[-1].response.output
        check([(i.type, i.call_id) for i in output] == [("function_call", asked.call_id)], output)
        await connection.conversation.item.create(
            item={
                "type": "function_call_output",
                "call_id": asked.call_id,
                "output": '{"sky": "sunny"}',
            }
        )
        await connection.response.create()
        check(words(await until(connection, "response.done")) == WEATHER, "another answer")


async def manual_turn(url: str) -> None:
    async with call(url) as connection:
        session = await update(connection, audio={"input": {"turn_detection": None}})
        check(session.audio.input.turn_detection is None, session)
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm(1.0)).decode())
        await connection.input_audio_buffer.commit()
        kinds = [e.type for e in await until(connection, "conversation.item.done")]
        check(kinds[0] == "input_audio_buffer.committed", kinds)
        await connection.response.create()
        check(words(await until(connection, "response.done")) == ANSWER, "another answer")


async def recorded_item(url: str) -> None:
    async with call(url) as connection:
        await update(connection, audio=TRANSCRIBED)
        audio = base64.b64encode(pcm(1.0)).decode()
        content: Any = [{"type": "input_audio", "audio": audio}]
        item: Any = {"type": "message", "role": "user", "content": content}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        events = await until(connection, "response.done")
        heard = [e.transcript for e in events if e.type.endswith("transcription.completed")]
        check(heard == [QUESTION], heard)
        check(words(events) == ANSWER, words(events))


if __name__ == "__main__":
    asyncio.run(
        run(
            f"openai {openai.__version__}, GA",
            {
                "greeting": ("talk", greeting),
                "spoken turn": ("talk", spoken_turn),
                "barge-in": ("story", barge_in),
                "turn that goes on": ("present", goes_on),
                "tool call": ("weather", tool_call),
                "manual turn": ("talk", manual_turn),
                "recorded item": ("talk", recorded_item),
            },
        )
    )
