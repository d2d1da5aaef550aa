"""The speech endpoints as the stock openai SDK calls them, on a real port, without models."""

import asyncio
import contextlib
import hashlib
import io
import json
from collections.abc import AsyncIterator

import httpx2
import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI

from duplex.audio.formats import Samples
from duplex.config import Config, ServerConfig
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from duplex.testing.engine import Script, ScriptedEngine
from engine.ear.passage import Passage, Wish
from tests._support.servers import FAST, NO_KEYS, Running, running_server

pytestmark = pytest.mark.realtime

TEXT = "Hello there, my friend. This is the second sentence."
SLOW = Script(hears=("What time is it?",), ear_s=30.0)


def tone(seconds: float, *, rate: int = 16_000, level: float = 0.3) -> list[float]:
    return list(level * np.sin(2 * np.pi * 300 / rate * np.arange(round(seconds * rate))))


def recording(*speech_s: float, kind: str = "WAV", rate: int = 16_000) -> bytes:
    """Tones with two seconds of silence after each."""
    samples: list[float] = []
    for seconds in speech_s:
        samples += tone(seconds, rate=rate) + tone(2.0, rate=rate, level=0.0)
    file = io.BytesIO()
    soundfile.write(file, np.array(samples), rate, format=kind)
    return file.getvalue()


@contextlib.asynccontextmanager
async def serving(
    script: Script = FAST,
    keys: Keys = NO_KEYS,
    *,
    max_calls: int = 4,
    trusted_proxies: tuple[str, ...] = (),
    engine: ScriptedEngine | None = None,
) -> AsyncIterator[tuple[AsyncOpenAI, Running]]:
    config = Config(
        server=ServerConfig(port=0, max_calls=max_calls, trusted_proxies=trusted_proxies)
    )
    async with running_server(config, script, keys, engine=engine) as running:
        base = f"{running.http}/v1"
        async with AsyncOpenAI(api_key="k" * 20, base_url=base, max_retries=0) as client:
            yield client, running


def keys_of(allowance: Allowance) -> Keys:
    digest = hashlib.sha256(b"k" * 20).digest()
    owner = Principal("somebody", allowance, is_key=True)
    return Keys({"somebody": (digest, owner)}, Principal("", allowance))


def heard_s(data: bytes, name: str) -> float:
    """How long a sound file of that format is."""
    if name == "pcm":
        return len(data) / 48_000
    if name in ("aac", "flac"):  # libsndfile reads no AAC, and no FLAC of unknown length
        av = pytest.importorskip("av")
        with av.open(io.BytesIO(data)) as file:
            rate = file.streams.audio[0].rate
            return float(sum(frame.samples for frame in file.decode(audio=0)) / rate)
    samples, rate = soundfile.read(io.BytesIO(data))
    return float(len(samples) / rate)


@pytest.mark.parametrize("name", ["wav", "pcm", "mp3", "opus", "flac", "aac"])
async def test_speech_lasts_as_long_as_its_text(name: str) -> None:
    if name == "aac":
        pytest.importorskip("av")
    async with serving() as (client, _):
        answer = await client.audio.speech.create(
            model="tts-1",
            voice="alloy",
            input=TEXT,
            response_format=name,  # type: ignore[arg-type]
        )
    assert heard_s(answer.content, name) == pytest.approx(len(TEXT) * 0.06, abs=0.15)


async def test_speech_begins_before_it_is_made() -> None:
    """A text of an hour is answered at once, and is not made ahead of who reads it."""
    async with serving() as (client, running):
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=TEXT * 1000, response_format="wav"
        ) as answer:
            first = await anext(answer.iter_bytes(1024))
            assert first.startswith(b"RIFF")
            assert running.server.sockets.answering
        async with asyncio.timeout(5):
            while running.server.sockets.answering:  # the client has hung up
                await asyncio.sleep(0.01)


async def test_speech_as_events() -> None:
    async with serving() as (_, running), httpx2.AsyncClient() as client:
        body = {"model": "tts-1", "input": TEXT, "voice": "x", "stream_format": "sse"}
        answer = await client.post(f"{running.http}/v1/audio/speech", json=body)
    assert answer.headers["content-type"] == "text/event-stream"
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    kinds = [event["type"] for event in events]
    assert len(kinds) > 2
    assert kinds == ["speech.audio.delta"] * (len(kinds) - 1) + ["speech.audio.done"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"response_format": "midi"}, "midi"),
        ({"input": " "}, "input"),
        ({"speed": 9}, "speed"),
        ({"stream_format": "tape"}, "tape"),
    ],
)
async def test_what_cannot_be_said_is_refused(fields: dict[str, object], word: str) -> None:
    async with serving() as (_, running), httpx2.AsyncClient() as client:
        body = {"model": "tts-1", "input": TEXT, "voice": "alloy", **fields}
        answer = await client.post(f"{running.http}/v1/audio/speech", json=body)
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
async def test_a_file_is_heard(kind: str) -> None:
    async with serving(Script(hears=("One.", "Two."), ear_s=0.001)) as (client, _):
        file = ("sound", recording(1.0, 1.5, kind=kind, rate=44_100))
        heard = await client.audio.transcriptions.create(file=file, model="whisper-1")
    assert heard.text == "One. Two."


async def test_formats_of_a_transcript() -> None:
    async with serving(Script(hears=("One.", "Two & 3."), ear_s=0.001)) as (client, _):

        async def ask(name: str) -> str:
            return str(
                await client.audio.transcriptions.create(
                    file=("a.wav", recording(1.0, 1.5)),
                    model="whisper-1",
                    response_format=name,  # type: ignore[call-overload]
                )
            )

        assert await ask("text") == "One. Two & 3.\n"
        srt, vtt = await ask("srt"), await ask("vtt")
        verbose = await client.audio.transcriptions.create(
            file=("a.wav", recording(1.0, 1.5)), model="w", response_format="verbose_json"
        )
    # The first sound begins at 0 and the second at 3 s, each with some silence kept around it.
    assert srt.startswith("1\n00:00:00,000 --> 00:00:01,2")
    assert "\n2\n00:00:02,7" in srt
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.2")
    assert "Two &amp; 3." in vtt
    assert verbose.duration == pytest.approx(6.5)
    assert [segment.text for segment in verbose.segments or ()] == ["One.", "Two & 3."]


async def test_a_transcript_in_deltas() -> None:
    async with serving(Script(hears=("One.", "Two."), ear_s=0.001)) as (client, _):
        stream = await client.audio.transcriptions.create(
            file=("a.wav", recording(1.0, 1.5)), model="whisper-1", stream=True
        )
        events = [event async for event in stream]
    deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
    assert deltas == ["One.", " Two."]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(deltas)


@pytest.mark.parametrize(
    ("file", "fields", "word"),
    [
        (b"", {}, "empty"),
        (b"no sound at all" * 99, {}, "cannot be read"),
        (recording(1.0), {"response_format": "diarized_json"}, "response_format"),
        (recording(1.0), {"stream": "maybe"}, "stream"),
        (
            recording(1.0),
            {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
            "when each word",
        ),
    ],
)
async def test_what_cannot_be_heard_is_refused(
    file: bytes, fields: dict[str, str], word: str
) -> None:
    async with serving() as (_, running), httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{running.http}/v1/audio/transcriptions", files={"file": ("a", file)}, data=fields
        )
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]


async def translated(http: str) -> httpx2.Response:
    """The SDK calls its own method for it deprecated; this is what that sends."""
    async with httpx2.AsyncClient() as client:
        return await client.post(
            f"{http}/v1/audio/translations",
            files={"file": ("a.wav", recording(1.0))},
            data={"model": "whisper-1", "response_format": "verbose_json"},
        )


async def test_a_translation_needs_an_ear_that_translates() -> None:
    async with serving() as (_, running):
        answer = await translated(running.http)
    assert answer.status_code == 400
    assert 'ear.model = "whisper-base"' in answer.json()["error"]["message"]


class GermanEar:
    """It knows what it is asked for; see `PassageEar`."""

    languages = frozenset({"de", "en"})
    knows_times = True
    translates = True

    async def hear(self, pcm: Samples, wish: Wish) -> Passage:
        assert not wish.with_words, "words that were not said have no times"
        return Passage("Good morning." if wish.in_english else "Guten Morgen.", "de")


class LendingEngine(ScriptedEngine):
    """A scripted engine that lends an ear."""

    recordings = GermanEar()


async def test_a_translation_is_english() -> None:
    async with serving(engine=LendingEngine(FAST)) as (_, running):
        answer = (await translated(running.http)).json()
    assert (answer["task"], answer["language"]) == ("translate", "english")
    assert answer["text"] == "Good morning."
    assert [segment["text"] for segment in answer["segments"]] == ["Good morning."]


async def test_a_body_that_is_no_form_is_refused() -> None:
    async with serving() as (_, running), httpx2.AsyncClient() as client:
        url = f"{running.http}/v1/audio/transcriptions"
        for kind in ("text/plain", "multipart/form-data; boundary=x"):
            answer = await client.post(url, content=b"\0" * 50, headers={"Content-Type": kind})
            assert answer.status_code == 400
        assert (await client.get(url)).status_code == 405


async def test_a_larger_file_than_is_taken_is_refused_before_it_is_sent() -> None:
    async with serving() as (client, _):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.audio.transcriptions.create(
                file=("a.wav", bytes(26 * 1024 * 1024)), model="whisper-1"
            )
    assert refused.value.status_code == 413


async def test_a_key_is_needed() -> None:
    async with serving(keys=keys_of(Allowance())) as (client, running):
        await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
        stranger = client.with_options(api_key="wrong")
        with pytest.raises(openai.AuthenticationError):
            await stranger.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
        async with httpx2.AsyncClient() as browser:
            page = {"Origin": "https://elsewhere.example", "Authorization": f"Bearer {'k' * 20}"}
            answer = await browser.post(f"{running.http}/v1/audio/speech", headers=page)
            assert answer.status_code == 403


async def test_the_page_behind_a_trusted_proxy_may_ask() -> None:
    """The proxy says by which name the page knows the server; its own Host is another."""
    page = {"Origin": "https://voice.example"}
    proxy = {"X-Forwarded-Host": "voice.example", "X-Forwarded-Proto": "https"}
    asked = {"model": "tts-1", "input": "Hello.", "voice": "v"}
    serves = serving(trusted_proxies=("127.0.0.1/32",))
    async with serves as (_, running), httpx2.AsyncClient() as client:
        url = f"{running.http}/v1/audio/speech"
        taken = await client.post(url, json=asked, headers={**page, **proxy})
        refused = await client.post(url, json=asked, headers=page)
    assert (taken.status_code, refused.status_code) == (200, 403)


async def test_requests_have_the_limits_of_calls() -> None:
    """One more than there is room for is asked to come again, and a leaver makes room."""
    sound = ("a.wav", recording(1.0))
    allowed = Allowance(calls=1)
    for keys, limit, status in ((NO_KEYS, 1, 503), (keys_of(allowed), 4, 429)):
        async with serving(SLOW, keys, max_calls=limit) as (client, running):
            slow = asyncio.create_task(
                client.audio.transcriptions.create(file=sound, model="whisper-1")
            )
            async with asyncio.timeout(5):
                while not running.engine.sessions:
                    await asyncio.sleep(0.01)
            with pytest.raises(openai.APIStatusError) as refused:
                await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
            assert refused.value.status_code == status
            assert int(refused.value.response.headers["retry-after"]) > 0
            slow.cancel()
            async with asyncio.timeout(5):
                while not running.engine.sessions[0].closed:
                    await asyncio.sleep(0.01)
            await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")


@pytest.mark.parametrize("expects", ["", "Expect: 100-continue\r\n"])
async def test_a_key_past_its_limits_is_refused_before_its_file_is_sent(expects: str) -> None:
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
        f"{expects}Authorization: Bearer {'k' * 20}\r\n\r\n"
    ).encode()

    async def begin(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        return reader, writer

    async with serving(keys=keys_of(Allowance(calls=1))) as (client, running), asyncio.timeout(20):
        port = int(running.http.rpartition(":")[2])
        first_reader, first = await begin(port)
        if expects:
            assert (await first_reader.readline()).startswith(b"HTTP/1.1 100")
        else:
            while not running.server.sockets.answering:
                await asyncio.sleep(0.01)
        second_reader, second = await begin(port)
        assert (await second_reader.readline()).startswith(b"HTTP/1.1 429")
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()
        while running.server.sockets.answering:
            await asyncio.sleep(0.01)
        await client.audio.speech.create(model="tts-1", voice="alloy", input="There is room again.")


async def test_the_lists_that_open_webui_asks_for_without_a_key() -> None:
    async with serving(keys=keys_of(Allowance())) as (_, running), httpx2.AsyncClient() as client:
        voices = (await client.get(f"{running.http}/v1/audio/voices")).json()["voices"]
        models = (await client.get(f"{running.http}/v1/audio/models")).json()["models"]
    assert voices == [{"id": "default", "name": "default"}]
    assert {"whisper-1", "tts-1"} <= {model["id"] for model in models}
