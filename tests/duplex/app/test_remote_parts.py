"""A whole server whose ear and voice are behind OpenAI-compatible addresses."""

import asyncio
import base64
import json

import numpy as np
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect

from duplex import ConfigError, Server
from duplex.config import Config, DialogueConfig, EarConfig, LimitsConfig, ServerConfig, VoiceConfig
from duplex.testing import LoudnessVad, ScriptedVoice
from tests._support.endpoint import Endpoint, endpoint, status
from tests._support.parrot import HelloEar, Parrot
from tests._support.wire import say, say_something, send, until

pytestmark = pytest.mark.realtime

MODELS = {"/v1/models": status(200, '{"data": [{"id": "a-model"}]}')}
SECOND = np.full(24_000, 4000, "<i2").tobytes()


def config_of(served: Endpoint, part: str) -> Config:
    config = Config(
        server=ServerConfig(port=0),
        limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),
    )
    if part == "ear":
        return replace(
            config, ear=EarConfig(kind="openai", model="a-model", base_url=served.base_url)
        )
    voice = VoiceConfig(
        kind="openai", model="a-model", name="alloy", base_url=served.base_url, others=("echo",)
    )
    return replace(config, voice=voice)


async def test_an_ear_that_fails_fails_that_turn_alone() -> None:
    heard = status(200, json.dumps({"text": "Good morning."}))
    failing = status(400, '{"error": {"message": "No memory."}}')
    async with endpoint(failing, pages=MODELS) as served:
        silent = replace(config_of(served, "ear"), dialogue=DialogueConfig(not_understood=""))
        server = Server(silent, brain=Parrot(), voice=ScriptedVoice(), vad=LoudnessVad())
        async with server.listen() as running, connect(running.url) as connection:
            await until(connection, "session.created")
            await say(connection)
            failed = await until(connection, "conversation.item.input_audio_transcription.failed")
            assert "No memory." in failed["error"]["message"]
            served.replies = [heard]
            response = await say_something(connection)
    assert response["output"][0]["content"][0]["transcript"] == "You said: Good morning."


async def test_a_voice_is_heard_before_the_endpoint_has_sent_all_of_it() -> None:
    go_on = asyncio.Event()

    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nConnection: close\r\n\r\n")
        for at in range(0, len(SECOND), 777):
            writer.write(SECOND[at : at + 777])
            if at == 777 * 10:
                await writer.drain()
                await go_on.wait()

    async with endpoint(slowly, pages=MODELS) as served:
        server = Server(
            config_of(served, "voice"), ear=HelloEar(), brain=Parrot(), vad=LoudnessVad()
        )
        async with server.listen() as running, connect(running.url) as connection:
            created = await until(connection, "session.created")
            assert created["session"]["audio"]["output"]["voice"] == "alloy"
            await say(connection)
            delta = await until(connection, "response.output_audio.delta")
            first = np.frombuffer(base64.b64decode(delta["delta"]), "<i2")
            assert not go_on.is_set()
            assert 0 < len(first) <= 777 * 11 // 2
            go_on.set()
            response = (await until(connection, "response.done"))["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["transcript"] == "You said: Hello there."
    assert served.requests[0].json["voice"] == "alloy"


async def test_a_voice_that_fails_fails_that_answer_alone() -> None:
    async with endpoint(status(400, '{"detail": "No such voice."}'), pages=MODELS) as served:
        server = Server(
            config_of(served, "voice"), ear=HelloEar(), brain=Parrot(), vad=LoudnessVad()
        )
        async with server.listen() as running, connect(running.url) as connection:
            response = await say_something(connection)
            assert response["status"] == "failed"
            assert "No such voice." in response["status_details"]["error"]["message"]
            await send(connection, "response.create", response={"output_modalities": ["text"]})
            response = (await until(connection, "response.done"))["response"]
            assert response["status"] == "completed"


def test_what_an_ear_and_a_voice_need_is_said() -> None:
    for config, said in (
        (Config(ear=EarConfig(kind="openai")), "ear.base_url must be set"),
        (Config(voice=VoiceConfig(kind="openai")), "voice.name must be set"),
        (Config(voice=VoiceConfig(kind="openai", name="x", base_url="x/v1")), "has no scheme"),
    ):
        with pytest.raises(ConfigError, match=said):
            Server(config, brain=Parrot(), vad=LoudnessVad()).load()
