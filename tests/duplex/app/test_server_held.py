"""A caller who goes on before an answer has a sound, with real models over a real socket."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection, connect

from duplex import Server
from duplex.audio.formats import Samples, encode_pcm16
from duplex.audio.resample import resample
from duplex.config import Config, LimitsConfig, ServerConfig
from duplex.testing.voice import ScriptedVoice
from engine.types import Finished, GenerationOptions, Message
from tests._support.wire import send

pytestmark = [pytest.mark.realtime, pytest.mark.slow]
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
)
QUESTION = Path(__file__).parents[2] / "engine" / "data" / "question_capital.wav"
RATE_HZ, PIECE = 24_000, 960  # samples, 40 ms
PAUSE_S = 0.85  # a question that sounds finished ends a turn in a third of it


class _Slow:
    """A brain that thinks for longer than the caller pauses."""

    context_tokens = 4096

    def __init__(self) -> None:
        self.asked: list[str] = []

    def open(self) -> "_Slow":
        return self

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        pass

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        self.asked.append(messages[-1].text)
        await asyncio.sleep(1.5)
        yield "Paris. "
        yield Finished("stop", 0, 0, 0)

    def close(self) -> None:
        pass


async def say(caller: ClientConnection, samples: Samples) -> None:
    """Send ``samples`` as fast as they are spoken."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for at in range(0, len(samples), PIECE):
        audio = base64.b64encode(encode_pcm16(samples[at : at + PIECE])).decode()
        await send(caller, "input_audio_buffer.append", audio=audio)
        await asyncio.sleep(max(0.0, began_s + (at + PIECE) / RATE_HZ - loop.time()))


async def test_a_caller_who_goes_on_before_the_first_sound_hears_and_loses_nothing() -> None:
    once, rate = soundfile.read(QUESTION, dtype="float32")
    once = resample(once, rate, RATE_HZ)
    pause, end = (np.zeros(round(s * RATE_HZ), np.float32) for s in (PAUSE_S, 2.0))
    brain = _Slow()
    server = Server(CONFIG, brain=brain, voice=ScriptedVoice())
    async with server.listen() as running, connect(running.url) as caller:
        transcription = {"input": {"transcription": {"model": "any"}}}
        await send(caller, "session.update", session={"type": "realtime", "audio": transcription})
        await say(caller, np.concatenate([once, pause, once, end]))
        told: list[dict[str, Any]] = []
        async with asyncio.timeout(90):
            while not told or told[-1]["type"] != "response.done":
                told.append(json.loads(await caller.recv()))
    kinds = [event["type"] for event in told]
    assert kinds.count("input_audio_buffer.committed") == kinds.count("response.created") == 1
    assert "conversation.item.deleted" not in kinds
    heard = "conversation.item.input_audio_transcription.completed"
    (words,) = [event["transcript"] for event in told if event["type"] == heard]
    assert words.lower().count("france") == 2
    assert brain.asked[-1] == words.strip()
