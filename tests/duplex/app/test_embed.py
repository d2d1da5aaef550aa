"""`duplex.Server`: parts that are given, addresses, signals and threads."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from msgspec.structs import replace
from websockets.asyncio.client import connect

from duplex import Config, ConfigError, DuplexError, Server
from duplex.audio.formats import encode_pcm16
from duplex.audio.resample import resample
from duplex.config import (
    AccessConfig,
    BrainConfig,
    EngineConfig,
    LimitsConfig,
    ModelsConfig,
    ServerConfig,
)
from duplex.testing import LoudnessVad, Script, ScriptedEngine, ScriptedVoice
from tests._support.parrot import HelloEar, Parrot
from tests._support.wire import say_something, send, until

QUESTION = Path(__file__).parents[2] / "engine" / "data" / "question_capital.wav"
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
)


def without_models(config: Config, tmp_path: Path) -> Config:
    """The models are looked for where there are none, and nothing may be put."""
    return replace(config, models=ModelsConfig(cache_dir=str(tmp_path / "none")))


async def test_a_call_with_parts_of_ones_own_needs_no_model(tmp_path: Path) -> None:
    config = without_models(CONFIG, tmp_path)
    server = Server(
        config, ear=HelloEar(), brain=Parrot(), voice=ScriptedVoice(), vad=LoudnessVad()
    )
    handler = signal.getsignal(signal.SIGINT)
    async with server.listen() as running, connect(running.url) as connection:
        created = await until(connection, "session.created")
        assert created["session"]["model"] == "Parrot"
        assert created["session"]["audio"]["output"]["voice"] == "ScriptedVoice"
        response = await say_something(connection)
        (part,) = response["output"][0]["content"]
        assert part["transcript"] == "You said: Hello there."
        assert signal.getsignal(signal.SIGINT) is handler
        assert running.page == running.url.replace("ws", "http").replace("v1/realtime", "")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
async def test_what_is_not_given_is_loaded() -> None:
    """The default ear, voice and VAD, around a brain of one's own."""
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    pcm = np.concatenate([resample(samples, rate, 24_000), np.zeros(36_000, np.float32)])
    audio = base64.b64encode(encode_pcm16(pcm)).decode()
    async with Server(CONFIG, brain=Parrot()).listen() as running, connect(running.url) as caller:
        created = await until(caller, "session.created")
        assert created["session"]["audio"]["output"]["voice"] == "hibari-heart"
        await send(caller, "input_audio_buffer.append", audio=audio)
        response = (await until(caller, "response.done"))["response"]
        transcript = response["output"][0]["content"][0]["transcript"]
        assert transcript.startswith("You said: ")
        assert "capital" in transcript


async def test_a_whole_engine_is_an_ear_and_a_brain(tmp_path: Path) -> None:
    engine = ScriptedEngine(Script(says=["Four o'clock."]))
    config = without_models(CONFIG, tmp_path)
    server = Server(config, engine=engine, voice=ScriptedVoice(), vad=LoudnessVad())
    async with server.listen() as running, connect(running.url) as connection:
        response = await say_something(connection)
        assert response["output"][0]["content"][0]["transcript"] == "Four o'clock."


async def test_what_is_given_is_closed_when_the_server_ends(tmp_path: Path) -> None:
    class Counted(Parrot):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    brain = Counted()
    server = Server(
        without_models(CONFIG, tmp_path),
        ear=HelloEar(),
        brain=brain,
        voice=ScriptedVoice(),
        vad=LoudnessVad(),
    )
    async with server.listen():
        assert brain.closed == 0
    assert brain.closed == 1
    with pytest.raises(DuplexError, match="make another"):
        async with server.listen():
            pass


def test_an_engine_with_a_brain_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="engine"):
        Server(engine=ScriptedEngine(), brain=Parrot())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Config(brain=BrainConfig(kind="magic")), r"brain\.kind.*'magic'.*embedded"),
        (Config(engine=EngineConfig(options={"a": 1})), r"engine\.options"),
        (Config(server=ServerConfig(host="0.0.0.0")), "key"),
        (Config(access=AccessConfig(keys_file="/none.toml")), "none"),
    ],
)
def test_a_config_made_in_python_is_checked_before_anything_is_loaded(
    config: Config, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        Server(config)


async def test_others_of_a_brain_of_ones_own_are_refused(tmp_path: Path) -> None:
    config = without_models(replace(CONFIG, brain=BrainConfig(others=("a",))), tmp_path)
    server = Server(
        config, ear=HelloEar(), brain=Parrot(), voice=ScriptedVoice(), vad=LoudnessVad()
    )
    with pytest.raises(ConfigError, match=r"brain\.others"):
        await asyncio.to_thread(server.load)


def test_run_says_that_it_needs_the_main_thread() -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            Server(CONFIG, engine=ScriptedEngine()).run()
        except DuplexError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert "main thread" in str(errors[0])
    assert "listen()" in str(errors[0])


PROGRAM = """
from duplex import Config, Server
from duplex.config import ServerConfig
from duplex.testing import LoudnessVad, ScriptedEngine, ScriptedVoice

server = Server(
    Config(server=ServerConfig(port=0)),
    engine=ScriptedEngine(), voice=ScriptedVoice(), vad=LoudnessVad(),
)
server.run()
print("over")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready: ws://127.0.0.1:")
        process.send_signal(number)
        assert process.stdout.read().endswith("over\n")
    assert process.returncode == 0
