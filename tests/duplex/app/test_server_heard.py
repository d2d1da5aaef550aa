"""Recordings of people over a real socket: what is heard of an item, and of a turn that no ear
understands."""

import base64
import shutil
import subprocess
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect

from duplex import Server
from duplex.app.server import DialogueServer, address
from duplex.audio.formats import encode_pcm16
from duplex.audio.resample import resample
from duplex.config import Config, LimitsConfig, ServerConfig
from duplex.dialogue.parts import Parts
from engine.types import Finished, GenerationOptions, Message
from tests._support.servers import NO_KEYS
from tests._support.wire import send, until

pytestmark = [pytest.mark.realtime, pytest.mark.slow]
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
)
QUESTION = Path(__file__).parents[2] / "engine" / "data" / "question_capital.wav"


def question(silent_s: float = 0.0) -> str:
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    silence = np.zeros(round(silent_s * 24_000), np.float32)
    pcm = np.concatenate([resample(samples, rate, 24_000), silence])
    return base64.b64encode(encode_pcm16(pcm)).decode()


def mumble(folder: Path) -> str:
    """Quiet speech of which only what is below 350 Hz is left, in a quiet room."""
    path = folder / "said.wav"
    text = "could you tell me the way to the station"
    command = ["espeak-ng", "-v", "en-us+m3", "-s", "210", "-w", str(path), text]
    subprocess.run(command, check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > 350] = 0
    low = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    low = resample(low * (0.05 / np.abs(low).max()), rate, 24_000)
    pcm = np.concatenate([np.zeros(12_000, np.float32), low, np.zeros(36_000, np.float32)])
    pcm = pcm + np.float32(3e-4) * np.random.default_rng(0).standard_normal(len(pcm))
    return base64.b64encode(encode_pcm16(pcm.astype(np.float32))).decode()


class _Deaf:
    """Understands nothing."""

    def transcribe(self, pcm: object) -> str:
        return ""


class _Unasked:
    """A brain that nobody asks."""

    context_tokens = 4096

    def open(self) -> "_Unasked":
        return self

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        pass

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        yield "What?"

    def close(self) -> None:
        pass


async def test_a_recorded_question_is_heard_and_answered(parts: Parts) -> None:
    server = DialogueServer(CONFIG, parts, keys=NO_KEYS)
    async with server.listen() as listening, connect(address(listening)) as caller:
        transcription = {"input": {"transcription": {"model": "any"}}}
        session = {"type": "realtime", "audio": transcription}
        await send(caller, "session.update", session=session)
        content = [{"type": "input_audio", "audio": question()}]
        item = {"type": "message", "role": "user", "content": content}
        await send(caller, "conversation.item.create", item=item)
        await send(caller, "response.create")
        heard = await until(caller, "conversation.item.input_audio_transcription.completed")
        assert "capital of france" in heard["transcript"].lower()
        response = (await until(caller, "response.done"))["response"]
        assert "Paris" in response["output"][0]["content"][0]["transcript"]


async def test_a_voice_that_is_not_understood_is_answered_aloud() -> None:
    """The detector of speech and the voice are the real ones."""
    server = Server(CONFIG, ear=_Deaf(), brain=_Unasked())
    async with server.listen() as running, connect(running.url) as caller:
        await send(caller, "input_audio_buffer.append", audio=question(silent_s=1.5))
        await until(caller, "response.output_audio.delta")
        response = (await until(caller, "response.done"))["response"]
        said = response["output"][0]["content"][0]["transcript"]
        assert said == "Sorry, I did not catch that."


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng makes the voice")
async def test_a_mumble_is_not_taken_for_words(parts: Parts, tmp_path: Path) -> None:
    """All parts are the real ones."""
    server = DialogueServer(CONFIG, parts, keys=NO_KEYS)
    async with server.listen() as listening, connect(address(listening)) as caller:
        await send(caller, "input_audio_buffer.append", audio=mumble(tmp_path))
        response = (await until(caller, "response.done"))["response"]
        said = response["output"][0]["content"][0]["transcript"]
        assert said == "Sorry, I did not catch that."
