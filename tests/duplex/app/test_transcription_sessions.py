"""Sessions that only write down what they hear, as the stock openai SDK opens them."""

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
from duplex.config import Config, ServerConfig
from tests._support.servers import Running, running_server

pytestmark = pytest.mark.realtime

Events = list[Any]


@contextlib.asynccontextmanager
async def sdk() -> AsyncIterator[tuple[AsyncOpenAI, Running]]:
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        base = f"{running.http}/v1"
        client = AsyncOpenAI(
            api_key="unused", base_url=base, websocket_base_url=base.replace("http", "ws", 1)
        )
        async with client:
            yield client, running


async def until(connection: AsyncRealtimeConnection, kind: str) -> Events:
    events: Events = []
    async with asyncio.timeout(30):
        while not events or events[-1].type != kind:
            events.append(await connection.recv())
    return events


async def speak(connection: AsyncRealtimeConnection) -> None:
    sound = np.concatenate(
        [0.3 * np.sin(np.arange(24_000) * 2 * np.pi * 300 / 24_000), np.zeros(24_000)]
    )
    await connection.input_audio_buffer.append(audio=base64.b64encode(encode_pcm16(sound)).decode())


async def test_words_are_written_down_and_nothing_is_answered() -> None:
    async with sdk() as (client, running):
        opened = client.realtime.connect(extra_query={"intent": "transcription"})
        async with opened as connection:
            created = await connection.recv()
            assert created.type == "session.created"
            assert created.session.type == "transcription"
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {
                        "input": {
                            "transcription": {"model": "whisper-1", "language": "en"},
                            "turn_detection": {"type": "server_vad"},
                            "noise_reduction": {"type": "near_field"},
                        }
                    },
                    "include": ["item.input_audio_transcription.logprobs"],
                }
            )
            (updated,) = await until(connection, "session.updated")
            assert updated.session.audio.input.transcription.language == "en"
            assert updated.session.include == ["item.input_audio_transcription.logprobs"]
            done = "conversation.item.input_audio_transcription.completed"
            for _ in range(2):
                await speak(connection)
                events = await until(connection, done)
                kinds = [event.type for event in events]
                heard = [k for k in kinds if k.startswith("input_audio_buffer.")]
                assert heard == [
                    f"input_audio_buffer.{what}"
                    for what in ("speech_started", "speech_stopped", "committed")
                ]
                deltas = [e.delta for e in events if e.type == done.replace("completed", "delta")]
                assert "".join(deltas) == events[-1].transcript == "What time is it?"
            await connection.response.create()
            refused = (await until(connection, "error"))[-1]
            assert refused.error.code == "unsupported_feature"
            assert not running.engine.sessions[0].histories


async def test_a_session_becomes_one_and_stays_one() -> None:
    async with sdk() as (client, _), client.realtime.connect(model="any") as connection:
        await connection.recv()
        await connection.session.update(session={"type": "transcription"})
        (updated,) = await until(connection, "session.updated")
        assert updated.session.type == "transcription"
        await connection.session.update(session={"type": "realtime"})
        refused = (await until(connection, "error"))[-1]
        assert refused.error.param == "session.type"


async def test_the_client_ends_its_turns_itself() -> None:
    async with sdk() as (client, _):
        opened = client.realtime.connect(extra_query={"intent": "transcription"})
        async with opened as connection:
            await connection.recv()
            await connection.session.update(
                session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
            )
            await speak(connection)
            await connection.input_audio_buffer.commit()
            done = "conversation.item.input_audio_transcription.completed"
            events = await until(connection, done)
            assert events[-1].transcript == "What time is it?"
            assert not [e for e in events if e.type.startswith("response.")]


async def test_a_client_secret_of_a_transcription_session() -> None:
    async with sdk() as (client, _):
        made = await client.realtime.client_secrets.create(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "whisper-1", "prompt": "Duplex"}}},
            }
        )
        assert made.session.type == "transcription"
        with_secret = client.with_options(api_key=made.value)
        async with with_secret.realtime.connect(model="any") as connection:
            created = await connection.recv()
            assert created.session.type == "transcription"
            assert created.session.audio.input.transcription.prompt == "Duplex"
