"""What a client may choose of a server that has more than one model or voice."""

import asyncio
import base64
import json

import pytest
from websockets.asyncio.client import connect

from duplex.config import Config, ServerConfig
from duplex.server.http import HttpRequest
from duplex.testing.engine import Script, ScriptedEngine
from duplex.testing.voice import ScriptedVoice
from engine.types import Speech
from tests._support.servers import running_server
from tests._support.wire import say, say_something, send, until
from tts.shifted import ShiftedVoice

pytestmark = pytest.mark.realtime

CONFIG = Config(server=ServerConfig(port=0))
OTHER = Script(says=((Speech("I am another."),),), ear_s=0.001, piece_s=0.001)


async def test_the_address_names_the_model() -> None:
    other = ScriptedEngine(OTHER)
    async with running_server(CONFIG, engines={"other": other}) as running:
        async with connect(f"{running.url}?model=other") as connection:
            session = (await until(connection, "session.created"))["session"]
            assert session["model"] == "other"
            await say_something(connection)
            assert len(other.sessions) == 1
            await send(
                connection,
                "response.create",
                response={"conversation": "none", "metadata": {"of": "other"}},
            )
            await until(connection, "response.done")
            assert len(other.sessions) == 2  # out of band: by the model of the call too
        assert running.engine.sessions == []


async def test_clients_of_other_servers_get_the_first_model() -> None:
    async with running_server(CONFIG, engines={"other": ScriptedEngine(OTHER)}) as running:
        async with connect(f"{running.url}?model=gpt-realtime") as connection:
            session = (await until(connection, "session.created"))["session"]
            assert session["model"] == "default"
            await say_something(connection)
        assert len(running.engine.sessions) == 1


async def _answer_samples(url: str, voice: str) -> int:
    async with connect(url) as connection:
        await until(connection, "session.created")
        await send(
            connection,
            "session.update",
            session={"type": "realtime", "audio": {"output": {"voice": voice}}},
        )
        assert (await until(connection, "session.updated"))["session"]["audio"]["output"][
            "voice"
        ] == voice
        await say(connection)
        received = b""
        async with asyncio.timeout(90):
            while True:
                event = json.loads(await connection.recv())
                if event["type"] == "response.output_audio.delta":
                    received += base64.b64decode(event["delta"])
                elif event["type"] == "response.done":
                    return len(received) // 2


async def test_the_session_names_the_voice() -> None:
    class Slow(ScriptedVoice):
        def open(self, speed: float = 1.0):  # type: ignore[no-untyped-def]
            return super().open(speed / 2)

    voices = {"slow": Slow(), "high": ShiftedVoice(ScriptedVoice(), 4)}
    async with running_server(CONFIG, voices=voices) as running:  # type: ignore[arg-type]
        first = await _answer_samples(running.url, "default")
        assert await _answer_samples(running.url, "slow") > 1.9 * first
        assert abs(await _answer_samples(running.url, "high") - first) < 0.05 * first
        assert await _answer_samples(running.url, "marin") == first  # nobody of that name


async def test_models_and_voices_are_told() -> None:
    engines, voices = {"other": ScriptedEngine(OTHER)}, {"high": ShiftedVoice(ScriptedVoice(), 4)}
    async with running_server(CONFIG, engines=engines, voices=voices) as running:
        answer = await running.server.sockets.answer(HttpRequest("GET", "/v1/models", {}))
        told = json.loads(answer.body)
        assert [model["id"] for model in told["data"]] == ["default", "other"]
        assert [voice["id"] for voice in told["voices"]] == ["default", "high"]
