"""A telephone call to a real server with real models: mu-law in, mu-law out."""

import contextlib
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from client.telephone.channel import LINE_HZ
from client.telephone.twilio import PhoneCall, phone_call
from duplex.app.server import DialogueServer, address
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.cli import recordings
from duplex.config import AssistantConfig, Config, PhoneConfig, ServerConfig
from duplex.dialogue.parts import Parts
from duplex.server.keys import load_keys
from engine.ear.whisper import WhisperEar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOKEN = "an auth token of Twilio's"
GREETING = "Welcome to the city library. How can I help you?"
PATIENCE_S = 120.0
PAUSE_MS = 4000  # a busy machine pauses within an answer, too
CONFIG = Config(
    server=ServerConfig(port=0),
    phone=PhoneConfig(assistant="library"),
    assistants={"library": AssistantConfig(greeting=GREETING)},
)


@pytest.fixture(scope="module")
def speak() -> Callable[[str], Samples]:
    return recordings.speaker(CONFIG)


@pytest.fixture
def server(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> DialogueServer:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    return DialogueServer(CONFIG, parts, keys=load_keys(CONFIG.access, {}))


@contextlib.asynccontextmanager
async def calling(server: DialogueServer) -> AsyncIterator[PhoneCall]:
    async with server.listen() as listening:
        url = address(listening).replace("/v1/realtime", "/twilio")
        async with phone_call(url, token=TOKEN) as call:
            yield call
        assert call.misbehaviour is None


def words(ear: WhisperEar, heard: Samples) -> str:
    return ear.transcribe(resample(heard, LINE_HZ, 16_000)).lower()


async def ask(call: PhoneCall, question: Samples) -> None:
    call.end.say(question, recordings.CLIENT_HZ)
    await call.until(lambda: not call.end.is_speaking, PATIENCE_S)


async def test_a_caller_is_greeted_asks_and_hears_the_answer(
    server: DialogueServer, speak: Callable[[str], Samples], ear: WhisperEar
) -> None:
    async with calling(server) as call:
        greeting = await call.hear_answer(PATIENCE_S, PAUSE_MS)
        await ask(call, speak("How many days are there in a week?"))
        answer = await call.hear_answer(PATIENCE_S, PAUSE_MS)
        assert call.end.clears == []
        # At most 200 ms ahead; what a late machine makes up for is above that for a moment.
        assert np.median([buffered for _, buffered in call.end.sent]) <= 0.3 * LINE_HZ
    assert "city library" in words(ear, greeting)
    said = words(ear, answer)
    assert "seven" in said or "7" in said


async def test_who_speaks_into_an_answer_stops_it(
    server: DialogueServer, speak: Callable[[str], Samples]
) -> None:
    async with calling(server) as call:
        await call.hear_answer(PATIENCE_S, PAUSE_MS)
        await ask(call, speak("Tell me a long story about a little dog and a big cat."))
        await call.until(lambda: call.end.buffered_ms > 100, PATIENCE_S)
        call.end.say(speak("Stop, please. What is the capital of Italy?"), recordings.CLIENT_HZ)
        began = call.end.position
        await call.until(lambda: call.end.clears, PATIENCE_S)
        cleared = call.end.clears[0]
        print(f"cleared {(cleared - began) * 1000 // LINE_HZ} ms after the caller's first sample")
        await call.until(lambda: not call.end.is_speaking, PATIENCE_S)
        heard = call.end.heard(cleared, cleared + LINE_HZ // 2)
        assert np.abs(heard).max() < 0.01  # silence at once: the buffer was emptied
