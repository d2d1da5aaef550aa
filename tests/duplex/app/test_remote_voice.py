"""The voice of an engine's process, as an edge hears it."""

import asyncio
import gc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from websockets.asyncio.client import connect

from duplex import Server, load_config
from duplex.app.remote_voice import RemoteUtterance, RemoteVoice
from duplex.testing import LoudnessVad, ScriptedVoice
from engine.remote_engine.engine import RemoteEngine
from tests._support.engines import echo_engine, hosted
from tests._support.wire import say_something, until
from tts.errors import VoiceError
from tts.types import AudioChunk, SpokenWord, Utterance

pytestmark = pytest.mark.realtime


class Codes:
    """A voice that renders codes, one a chunk; keeps what was closed. It fails at 13."""

    sample_rate = 16_000
    takes_codes = True

    def __init__(self) -> None:
        self.made = 0
        self.closed = 0

    def open(self, speed: float = 1.0) -> "Codes":
        return self

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        done = False
        try:
            for code in codes:
                if code == 13:
                    raise VoiceError("no voice says 13")
                self.made += 1
                yield AudioChunk(np.full(640, code, np.float32), ())
            yield AudioChunk(np.zeros(0, np.float32), (SpokenWord(text, 640 * len(codes)),))
            done = True
        finally:
            self.closed += not done

    def finish(self) -> Iterator[AudioChunk]:
        yield AudioChunk(np.ones(1, np.float32), ())


def spoken(utterance: Utterance) -> list[AudioChunk]:
    segments = ("Hello there. ", "How are you? ", "...")
    chunks = [chunk for segment in segments for chunk in utterance.feed(segment)]
    chunks += utterance.finish()
    return [chunk for chunk in chunks if len(chunk.samples) or chunk.words]  # it waits


async def remote(url: str) -> RemoteVoice:
    engine = RemoteEngine([url])
    about = await asyncio.to_thread(engine.meet)
    return RemoteVoice(engine, about.voices[0])


async def test_it_says_the_same_as_in_one_process() -> None:
    async with hosted(echo_engine()) as (_, url):
        voice = await remote(url)
        for speed in (1.0, 1.5):
            expected = spoken(ScriptedVoice().open(speed))
            heard = await asyncio.to_thread(spoken, voice.open(speed))
            assert [chunk.words for chunk in heard] == [chunk.words for chunk in expected]
            for one, other in zip(heard, expected, strict=True):
                np.testing.assert_array_equal(one.samples, other.samples)
        with pytest.raises(ValueError, match="speed"):
            voice.open(9.0)


async def test_codes_are_made_as_they_are_taken_and_a_closed_answer_stops() -> None:
    codes = Codes()
    async with hosted(echo_engine(), voice=codes) as (_, url):
        voice = await remote(url)
        assert (voice.takes_codes, voice.sample_rate) == (True, 16_000)
        utterance = voice.open()

        def begin() -> Iterator[AudioChunk]:
            chunks = utterance.feed("a", range(20, 120))
            assert next(chunk for chunk in chunks if len(chunk.samples)).samples[0] == 20
            return chunks

        chunks = await asyncio.to_thread(begin)
        await asyncio.sleep(0.3)
        assert codes.made <= 7
        await asyncio.to_thread(chunks.close)  # type: ignore[attr-defined]
        await until_true(lambda: codes.closed == 1)

        other = voice.open()
        heard = await asyncio.to_thread(lambda: [*other.feed("b", (1, 2)), *other.finish()])
        assert [chunk.samples[0] for chunk in heard if len(chunk.samples)] == [1, 2, 1]
        failing = voice.open()
        with pytest.raises(VoiceError, match="13"):
            await asyncio.to_thread(list, failing.feed("c", (1, 13)))


async def test_an_answer_that_is_forgotten_leaves_no_socket() -> None:
    async with hosted(echo_engine()) as (host, url):
        utterances: list[RemoteUtterance] = [(await remote(url)).open()]
        await asyncio.to_thread(list, utterances[0].feed("Hello."))
        assert host.answers == 1
        utterances.clear()
        gc.collect()
        await until_true(lambda: host.answers == 0)


async def test_an_engine_that_stops_finishes_what_it_speaks() -> None:
    async with hosted(echo_engine(), voice=Codes()) as (host, url):
        utterance = (await remote(url)).open()
        feeding = utterance.feed("a", range(20, 40))
        first = await asyncio.to_thread(next, feeding)
        draining = asyncio.create_task(host.drain())
        await asyncio.sleep(0.1)
        assert not draining.done()
        heard = await asyncio.to_thread(lambda: [first, *feeding, *utterance.finish()])
        samples = [chunk.samples[0] for chunk in heard if len(chunk.samples)]
        assert samples == [*range(20, 40), 1]
        await asyncio.wait_for(draining, 2.0)


async def test_a_lost_voice_says_so() -> None:
    async with hosted(echo_engine()) as (_, url):
        voice = await remote(url)
        utterance = voice.open()
        await asyncio.to_thread(list, utterance.feed("Hello."))
    with pytest.raises(VoiceError, match="lost"):
        await asyncio.to_thread(list, utterance.feed("Again."))
    with pytest.raises(VoiceError, match="No engine"):
        await asyncio.to_thread(list, voice.open().feed("Again."))


async def test_a_call_whose_engine_and_voice_are_elsewhere() -> None:
    async with hosted(echo_engine()) as (_, url):
        settings = {
            "server.port": 0,
            "engine.kind": "remote",
            "engine.url": url,
            "voice.kind": "remote",
            "turn.listens_to_ends": False,
        }
        server = Server(load_config(None, settings), vad=LoudnessVad())
        async with server.listen() as running, connect(running.url) as client:
            created = await until(client, "session.created")
            assert created["session"]["audio"]["output"]["voice"]
            response = await say_something(client)
            assert response["status"] == "completed"
            assert "w" in response["output"][0]["content"][0]["transcript"]


async def until_true(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
