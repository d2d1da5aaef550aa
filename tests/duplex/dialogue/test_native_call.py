"""A whole call through the WebSocket on the native engine: a tiny checkpoint of random weights
talks gibberish, but every stage is real, and so is the ear that writes the words."""

import asyncio
import base64
import contextlib
import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.realtime import RealtimeClient, SessionOptions, connect
from duplex.app import build
from duplex.app.server import DialogueServer, address
from duplex.audio.resample import Resampler
from duplex.config import BrainConfig, Config, NativeConfig, ServerConfig, Thinking
from duplex.model_store import ModelStore, Progress
from engine.native.engine import NativeEngine, NativeSession
from tests._support.tiny_checkpoint import AUDIO_CODES, BYTES, SPECIAL, write_tiny_checkpoint
from tests._support.token2wav_checkpoint import write_checkpoint as write_token2wav

DATA = Path(__file__).parents[2] / "engine" / "data"
FIRST_CODE = BYTES + len(SPECIAL)
MARK, LATENT = "·", "≈"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Watched(NativeEngine):
    """Lets the test look into the calls' logs."""

    sessions: list[NativeSession]

    def open(self) -> NativeSession:
        session = super().open()
        self.sessions.append(session)
        return session


def once(load: Callable[..., Any]) -> Callable[..., Any]:
    """``load`` as it was called first: all tests here have the same ear and voice."""
    loaded: list[Any] = []

    def load_once(*arguments: Any) -> Any:
        if not loaded:
            loaded.append(load(*arguments))
        return loaded[0]

    return load_once


@pytest.fixture(scope="module", autouse=True)
def ear_and_voice_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_ear", "load_voices"):
            patch.setattr(build, name, once(getattr(build, name)))
        yield


@contextlib.asynccontextmanager
async def native_server(
    directory: Path,
    store: ModelStore,
    thinking: Thinking = "off",
    *,
    max_tokens: int = 60,
    speaks: bool = False,
) -> AsyncIterator[tuple[str, Watched]]:
    write_tiny_checkpoint(directory)
    prompt = directory / "token2wav" / "prompt.npz"
    if speaks:
        write_token2wav(directory / "token2wav").save(prompt)
    config = Config(
        server=ServerConfig(port=0, playout_lead_s=0.3),
        brain=BrainConfig(
            kind="native",
            model=f"path:{directory}",
            max_tokens=max_tokens,
            thinking=thinking,
            think_tokens=60,
            instructions="Be kind.",
        ),
        native=NativeConfig(
            cache_tokens=16_384,
            thought_tokens=10,
            speech_tokens=8,
            speaks=speaks,
            voice_prompt=str(prompt),
        ),
    )
    parts = build.load(config, store, Progress(sys.stderr))
    engine = parts.engine
    assert isinstance(engine, NativeEngine)
    engine.__class__ = Watched
    assert isinstance(engine, Watched)
    engine.sessions = []
    if speaks:  # codes as loud as letters
        engine._brain.scheduler.runner.decoder.head[FIRST_CODE : FIRST_CODE + AUDIO_CODES] *= 12
    try:
        async with DialogueServer(config, parts).listen() as server:
            yield address(server), engine
    finally:
        engine.close()
        parts.voice_steps.close()  # type: ignore[attr-defined]


def question(name: str = "question_capital") -> NDArray[np.float32]:
    """A recorded question at 24 kHz, and a second of silence."""
    with wave.open(str(DATA / f"{name}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
        rate = file.getframerate()
    resampler = Resampler(rate, 24_000)
    parts = [resampler.feed(samples.astype(np.float32)), resampler.flush()]
    return np.concatenate([*parts, np.zeros(24_000, np.float32)])


async def until(client: RealtimeClient, kind: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(90):
        while not events or events[-1]["type"] != kind:
            received = await client.receive()
            assert received.event["type"] != "error", received.event
            events.append(dict(received.event))
    return events


def text_of(session: NativeSession) -> str:
    """The log of a call as text, each latent and each special token a letter of its own."""
    entries = session._brain._log.entries
    return "".join(chr(i) if 0 <= i < 256 else LATENT if i < 0 else MARK for i in entries)


def one(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (event,) = [event for event in events if event["type"] == kind]
    return event


async def test_a_turn_is_heard_as_latents_and_answered(tmp_path: Path, store: ModelStore) -> None:
    async with native_server(tmp_path, store) as (url, engine):
        client = await connect(url)
        await client.send(SessionOptions().update())
        await client.append(question())
        events = await until(client, "response.done")
        words = one(events, "conversation.item.input_audio_transcription.completed")
        assert "capital" in words["transcript"].lower()
        assert events[-1]["response"]["status"] in ("completed", "incomplete")
        audio = [event for event in events if event["type"] == "response.output_audio.delta"]
        assert audio
        (session,) = engine.sessions
        log = text_of(session)
        assert log.startswith("·system\nBe kind.··human\n·≈")
        # 12.5 latents a second, of the question and the silence before its end was certain.
        latents, seconds = log.count(LATENT), len(question()) / 24_000
        assert 12.5 * (seconds - 1.5) < latents <= 12.5 * seconds
        await client.close()


async def test_a_recording_in_an_item_is_heard_as_latents(
    tmp_path: Path, store: ModelStore
) -> None:
    async with native_server(tmp_path, store) as (url, engine):
        client = await connect(url)
        await client.append(question("question_ocean"))  # a turn before it, with latents too
        await until(client, "response.done")
        pcm = (question() * 32767).astype("<i2").tobytes()
        content = [
            {"type": "input_text", "text": "Listen"},
            {"type": "input_audio", "audio": base64.b64encode(pcm).decode()},
        ]
        item = {"type": "message", "role": "user", "content": content}
        await client.send({"type": "conversation.item.create", "item": item})
        await client.send({"type": "response.create"})
        events = await until(client, "response.done")
        assert events[-1]["response"]["status"] in ("completed", "incomplete")
        log = text_of(engine.sessions[0])
        _, shown = log.split("·human\nListen·")
        seconds = len(question()) / 24_000
        assert abs(shown.count(LATENT) - 12.5 * seconds) <= 2
        await client.close()


async def test_a_barge_in_cuts_the_cache_to_what_was_heard(
    tmp_path: Path, store: ModelStore
) -> None:
    async with native_server(tmp_path, store, max_tokens=200) as (url, engine):
        client = await connect(url)
        await client.append(question())
        await until(client, "response.output_audio_transcript.delta")
        await asyncio.sleep(1.5)  # what was sent by now is heard; sooner, the turn would go on
        await client.append(question("question_ocean"))
        cut = await until(client, "conversation.item.truncated")
        assert one(cut, "response.done")["response"]["status"] == "cancelled"
        item_id = cut[-1]["item_id"]
        events = await until(client, "response.done")
        assert events[-1]["response"]["status"] in ("completed", "incomplete")
        await client.send({"type": "conversation.item.retrieve", "item_id": item_id})
        item = (await until(client, "conversation.item.retrieved"))[-1]["item"]
        heard = item["content"][0]["transcript"]
        (session,) = engine.sessions
        log = text_of(session)
        _, first, second = log.split("·assistant\n")
        assert heard
        assert first.split(MARK)[0] == heard
        assert LATENT in first
        assert second
        await client.close()


@pytest.mark.parametrize("thinking", ["before", "think_first", "speak_first"])
async def test_thoughts_have_a_channel_of_their_own(
    tmp_path: Path, store: ModelStore, thinking: Thinking
) -> None:
    async with native_server(tmp_path, store, thinking) as (url, _):
        client = await connect(url)
        await client.send(SessionOptions(duplex=True, thoughts=True).update())
        await client.append(question())
        events = await until(client, "response.done")
        kinds = [event["type"] for event in events]
        thoughts = [kind for kind in kinds if "thought" in kind]
        assert thoughts, kinds
        said = one(events, "response.output_audio_transcript.done")["transcript"]
        assert said
        assert "think" not in said
        await client.close()


async def test_a_model_that_speaks_itself_is_heard(tmp_path: Path, store: ModelStore) -> None:
    async with native_server(tmp_path, store, speaks=True, max_tokens=300) as (url, engine):
        client = await connect(url)
        await client.append(question())
        events = await until(client, "response.done")
        said = one(events, "response.output_audio_transcript.done")["transcript"]
        pcm = b"".join(
            base64.b64decode(event["delta"])
            for event in events
            if event["type"] == "response.output_audio.delta"
        )
        (session,) = engine.sessions
        codes = sum(FIRST_CODE <= i < FIRST_CODE + AUDIO_CODES for i in session._brain._held)
        assert codes > 28
        assert len(pcm) // 2 == codes * 24_000 // 25
        assert said
        assert "audio_" not in said
        await client.close()


async def test_a_text_model_serves_as_a_brain_of_this_engine(
    tmp_path: Path, store: ModelStore
) -> None:
    from dataclasses import replace

    from tests._support.tiny_checkpoint import TINY

    plain = tmp_path / "plain"
    write_tiny_checkpoint(plain, replace(TINY, encoder=None, adaptor=None))
    config = Config(
        brain=BrainConfig(kind="native", model=f"path:{plain}"),
        native=NativeConfig(cache_tokens=4096),
    )
    engine, _ = build.load_engines(config, store, Progress(sys.stderr))
    try:
        assert not isinstance(engine, NativeEngine)
        call = engine.open()
        await call.close()
    finally:
        engine.close()
