"""The OpenAI-compatible ear against a real HTTP server on this machine."""

import asyncio
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.ear.openai_compatible import OpenAIEar
from engine.ear.transcription import TurnTranscriber
from engine.errors import EngineError
from engine.remote.service import Service
from engine.worker import Worker
from tests._support.endpoint import Endpoint, Reply, body, endpoint, status

QUESTION = Path(__file__).parents[1] / "data" / "question_capital.wav"
SECOND = np.sin(np.arange(16_000, dtype=np.float32) / 7) / 2


def words(text: str) -> Reply:
    return status(200, json.dumps({"text": text}))


def ear_of(served: Endpoint, language: str = "en", timeout_s: float = 10.0) -> OpenAIEar:
    return OpenAIEar(Service("ear", served.base_url, "sk-secret", timeout_s), "a-model", language)


async def hear(served: Endpoint, pcm: np.ndarray = SECOND, **options: object) -> str:
    ear = ear_of(served, **options)  # type: ignore[arg-type]
    try:
        return await asyncio.to_thread(ear.transcribe, pcm)
    finally:
        ear.close()


async def test_the_turn_is_sent_as_a_wav_file() -> None:
    async with endpoint(words(" Hello there. ")) as served:
        assert await hear(served) == "Hello there."
    (request,) = served.requests
    assert request.path == "/v1/audio/transcriptions"
    assert request.headers["authorization"] == "Bearer sk-secret"
    mark = request.headers["content-type"].split("boundary=")[1].encode()
    parts = [part.split(b"\r\n\r\n", 1) for part in request.body.split(b"--" + mark)[1:-1]]
    fields = {head.split(b'name="')[1].split(b'"')[0]: data[:-2] for head, data in parts}
    assert fields.keys() == {b"file", b"model", b"response_format", b"language"}
    assert fields[b"model"] == b"a-model"
    assert fields[b"language"] == b"en"
    sound, rate_hz = soundfile.read(io.BytesIO(fields[b"file"]), dtype="float32")
    assert rate_hz == 16_000
    assert np.abs(sound - SECOND).max() < 1e-4


async def test_what_is_too_short_for_a_word_is_not_sent_and_a_language_only_if_it_is_set() -> None:
    async with endpoint(words("Hi.")) as served:
        assert await hear(served, SECOND[:1000]) == ""
        assert not served.requests
        assert await hear(served, language="") == "Hi."
    assert b'"language"' not in served.requests[0].body


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (words(""), ""),
        (status(200, '{"text": null}'), ""),
        (status(200, '{"text": "Hi.", "segments": [], "usage": null}'), "Hi."),
        (status(200, '"Hi."'), "Hi."),
        (status(200, "Hi.", "text/plain"), "Hi."),
        (status(200, "5", "text/plain"), "5"),
        (status(200, '{"text": "Hi\\ud83d."}'), "Hi?."),
    ],
)
async def test_odd_transcripts_are_read(reply: Reply, text: str) -> None:
    async with endpoint(reply) as served:
        assert await hear(served) == text


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(401, '{"error": {"message": "Bad key sk-secret."}}'), r"401 .*Bad key \*\*\*\."),
        (status(200, '{"error": {"message": "No memory."}}'), "No memory"),
        (status(200, '{"text": 5}'), "no text"),
        (status(200, "[]"), "no text"),
        (status(200, '{"text": '), "cannot be read"),
        (status(200, "<html>", "text/html"), "cannot be read"),
        (body(b'{"text"', cut=True), "failed"),
    ],
)
async def test_what_cannot_be_heard_is_said(reply: Reply, error: str) -> None:
    async with endpoint(reply) as served:
        with pytest.raises(EngineError, match=error):
            await hear(served)


async def test_a_busy_endpoint_is_asked_again() -> None:
    async with endpoint(status(429, Retry_After="0"), words("Hi.")) as served:
        assert await hear(served) == "Hi."
    assert len(served.requests) == 2


@pytest.mark.realtime
async def test_an_endpoint_that_stalls() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with endpoint(stall) as served:
        with pytest.raises(EngineError, match="in time"):
            await hear(served, timeout_s=0.1)


async def test_calls_are_heard_at_once_and_only_at_pauses() -> None:
    both = threading.Barrier(2, timeout=30)

    async def together(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(both.wait)
        await words("Hi.")(_, writer)

    async with endpoint(together) as served:
        ear = ear_of(served)
        worker = Worker("ear", ear.manners.at_once)
        turns = [TurnTranscriber(ear, worker) for _ in range(2)]
        for turn in turns:
            turn.append_audio(np.tile(SECOND, 30))
            partial = asyncio.ensure_future(anext(turn.partials()))
            await asyncio.sleep(0)
            assert not partial.done()
            partial.cancel()
        transcripts = await asyncio.gather(*(turn.end_turn() for turn in turns))
        await asyncio.to_thread(worker.close)
        ear.close()
    assert [transcript.text for transcript in transcripts] == ["Hi.", "Hi."]
    assert len(served.requests) == 2


@pytest.mark.slow
async def test_a_whisper_behind_an_endpoint_hears_as_one_on_this_machine() -> None:
    import sys

    from duplex.app import build, build_ear
    from duplex.audio.resample import resample
    from duplex.config import Config, EarConfig
    from duplex.model_store import Progress

    store = build.open_store(Config())
    store.ensure([EarConfig().model], Progress(sys.stderr))
    whisper = build_ear.load_ear(Config(), store)
    samples, rate_hz = soundfile.read(QUESTION, dtype="float32")
    pcm = resample(samples, rate_hz, 16_000)
    served_: list[Endpoint] = []

    async def transcribe(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        posted = served_[0].requests[-1].body
        sound, _rate = soundfile.read(io.BytesIO(posted[posted.index(b"RIFF") :]), dtype="float32")
        await words(whisper.transcribe(sound))(_, writer)

    async with endpoint(transcribe) as served:
        served_.append(served)
        heard = await hear(served, pcm)
    assert heard == whisper.transcribe(pcm)
    assert "capital" in heard
