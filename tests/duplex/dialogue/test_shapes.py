"""Which shape a call has is settled by how it was opened."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from duplex.audio.formats import encode_ulaw
from tests._support.servers import scripted_server

pytestmark = pytest.mark.realtime


async def until(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of a type; others before it are passed over."""
    async with asyncio.timeout(20):
        while True:
            event: dict[str, Any] = json.loads(await connection.recv())
            if event["type"] == kind:
                return event


@pytest.mark.parametrize(
    "opening",
    [
        {"additional_headers": {"OpenAI-Beta": "realtime=v1"}},
        {"subprotocols": ["realtime", "openai-insecure-api-key.x", "openai-beta.realtime-v1"]},
    ],
    ids=["header", "sub-protocol"],
)
async def test_a_beta_call(opening: dict[str, Any]) -> None:
    async with scripted_server() as (url, _), connect(url, **opening) as connection:
        session = (await until(connection, "session.created"))["session"]
        assert session["input_audio_format"] == "pcm16"
        assert "audio" not in session
        conversation = (await until(connection, "conversation.created"))["conversation"]
        await connection.send(json.dumps({"type": "response.create", "response": {}}))
        delta = await until(connection, "response.audio.delta")
        assert delta["event_id"]
        done = (await until(connection, "response.done"))["response"]
        assert done["conversation_id"] == conversation["id"]
        bad = {"input_audio_format": "mp3"}
        await connection.send(
            json.dumps({"type": "session.update", "event_id": "mine", "session": bad})
        )
        error = (await until(connection, "error"))["error"]
        assert (error["event_id"], error["param"]) == ("mine", "session.input_audio_format")


async def test_a_phone_bridge_of_that_time() -> None:
    """What the published samples send that join a phone call to the API: G.711 both ways."""
    beta = {"OpenAI-Beta": "realtime=v1"}
    async with scripted_server() as (url, _), connect(url, additional_headers=beta) as connection:

        async def send(kind: str, **fields: Any) -> None:
            await connection.send(json.dumps({"type": kind, **fields}))

        session = {
            "turn_detection": {"type": "server_vad"},
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "voice": "alloy",
            "instructions": "Be brief.",
            "modalities": ["text", "audio"],
            "temperature": 0.8,
        }
        await send("session.update", session=session)
        told = (await until(connection, "session.updated"))["session"]
        modalities = told.pop("modalities")
        assert sorted(modalities) == ["audio", "text"]
        del session["modalities"]
        told["turn_detection"] = {"type": told["turn_detection"]["type"]}
        assert session.items() <= told.items()
        for level in [0.3] * 40 + [0.0] * 30:  # packets of 20 ms
            audio = encode_ulaw(np.resize([level, -level], 160).astype(np.float32))
            await send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
        started = await until(connection, "input_audio_buffer.speech_started")
        delta = await until(connection, "response.audio.delta")
        assert len(base64.b64decode(delta["delta"])) <= 8000, "a second of 8 kHz, a byte a sample"
        done = (await until(connection, "response.done"))["response"]
        assert done["output_audio_format"] == "g711_ulaw"
        fields = {"item_id": delta["item_id"], "content_index": 0, "audio_end_ms": 1_000_000}
        await send("conversation.item.truncate", **fields)  # from its own clock: too long
        await until(connection, "conversation.item.truncated")
        await send("conversation.item.retrieve", item_id=started["item_id"])
        item = (await until(connection, "conversation.item.retrieved"))["item"]
        assert item["content"] == [{"type": "input_audio", "transcript": "What time is it?"}]


@pytest.mark.parametrize(
    "opening", [{}, {"subprotocols": ["realtime", "openai-insecure-api-key.x"]}]
)
async def test_all_others_get_ga(opening: dict[str, Any]) -> None:
    async with scripted_server() as (url, _), connect(url, **opening) as connection:
        session = (await until(connection, "session.created"))["session"]
        assert "audio" in session
        await connection.send(json.dumps({"type": "response.create", "response": {}}))
        await until(connection, "response.output_audio.delta")
