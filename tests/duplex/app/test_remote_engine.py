"""Calls whose engine is another process: it is killed, full, stopped, and somebody else's."""

import asyncio
import contextlib
import gc
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from duplex import ConfigError, Server, load_config
from duplex.app.build_elsewhere import load_elsewhere
from duplex.app.embed import Running
from duplex.config import Config, EngineConfig, ServerConfig
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from duplex.testing import LoudnessVad, ScriptedVoice
from engine.ear.passage import Wish
from engine.errors import EngineError
from engine.remote_engine import wire
from engine.remote_engine.engine import RemoteEngine
from engine.types import Finished, GenerationOptions, Message, Speech, Transcript
from tests._support.engines import (
    RATE,
    EchoBrain,
    all_of,
    echo_engine,
    engine_processes,
    hosted,
    remote_of,
)
from tests._support.wire import close_code, say_something, send, until
from tests.duplex.app.test_server_access import certificate

pytestmark = pytest.mark.realtime

OPTIONS = GenerationOptions()
LONG = [Message("user", " ".join(f"word{n}" for n in range(200)))]
KEY = "the-engines-own-key"


@contextlib.asynccontextmanager
async def edge(urls: Sequence[str], **settings: Any) -> AsyncIterator[Running]:
    """A server without models, but for those at ``urls``."""
    config = load_config(
        None,
        {
            "server.port": 0,
            "engine.kind": "remote",
            "engine.url": list(urls),
            "limits.refuse_lag_ms": 0,
            "limits.refuse_stage_ms": 0,
            "turn.listens_to_ends": False,
            **settings,
        },
    )
    server = Server(config, voice=ScriptedVoice(), vad=LoudnessVad())
    async with server.listen() as running:
        await ready(running)
        yield running


async def readiness(running: Running) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{running.page}readyz")).text.strip()


async def ready(running: Running, expected: str = "ready") -> None:
    async with asyncio.timeout(30):
        while await readiness(running) != expected:
            await asyncio.sleep(0.02)


def said(response: dict[str, Any]) -> str:
    return str(response["output"][0]["content"][0]["transcript"])


async def ask(client: Any, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await send(client, "conversation.item.create", item=item)
    await send(client, "response.create")


async def answer_to(client: Any, text: str) -> dict[str, Any]:
    await ask(client, text)
    response: dict[str, Any] = (await until(client, "response.done"))["response"]
    return response


async def test_a_killed_engine_fails_the_reply_and_the_one_after_it_answers() -> None:
    async with engine_processes(1) as (engine,), edge([engine.url]) as running:
        async with connect(running.url) as client:
            created = await until(client, "session.created")
            assert created["session"]["model"] == "the-engine's"
            assert "w" in said(await say_something(client))
            await ask(client, " ".join(["and"] * 40))
            await until(client, "response.output_audio.delta")
            await engine.kill()
            failed = (await until(client, "response.done"))["response"]
            assert failed["status"] == "failed"
            assert "engine was lost" in failed["status_details"]["error"]["message"]
            await ready(running, "engine away")
            async with connect(running.url) as refused:
                error = (await until(refused, "error"))["error"]
                assert (error["code"], await close_code(refused)) == ("server_full", 1013)
            await engine.start()
            await ready(running)
            answer = said(await answer_to(client, "and you"))
        assert answer.startswith("Be brief. | w")  # the conversation from its beginning
        assert "and and" in answer


@pytest.mark.slow
async def test_with_another_engine_nobody_notices_one_that_is_killed_between_turns() -> None:
    async with (
        engine_processes(2) as (one, other),
        edge([one.url, other.url]) as running,
        connect(running.url) as client,
    ):
        await say_something(client)
        await one.kill()
        assert said(await answer_to(client, "one")).endswith("one ")
        await one.start()
        await other.kill()
        assert said(await answer_to(client, "two")).endswith("two ")
        assert await readiness(running) == "ready"


@pytest.mark.slow
async def test_the_open_turn_is_heard_by_the_engine_that_takes_over() -> None:
    async with engine_processes(2) as (one, other):
        engine = RemoteEngine([one.url, other.url])
        session = engine.open()
        session.begin_turn()
        heard: list[Transcript] = []

        async def listen() -> None:
            async with aclosing(session.listen([])) as transcripts:
                async for transcript in transcripts:
                    heard[:] = [transcript]

        listening = asyncio.create_task(listen())
        session.append_audio(seconds(1, 2, 3))
        await until_true(lambda: bool(heard))
        await one.kill()
        session.append_audio(seconds(4, 5))
        await until_true(lambda: heard[-1].text == "w1 w2 w3 w4 w5")
        listening.cancel()
        await asyncio.wait([listening])
        await one.start()
        await other.kill()
        assert (await session.end_turn()).text == "w1 w2 w3 w4 w5"
        await one.kill()
        with pytest.raises(EngineError, match="No engine can be reached"):
            await session.end_turn()
        await session.close()


async def test_a_full_engine_refuses_before_the_call_is_answered() -> None:
    async with (
        hosted(echo_engine(), Config(server=ServerConfig(port=0, max_calls=1))) as (host, url),
        edge([url]) as running,
    ):
        async with connect(running.url) as client:
            await until(client, "session.created")
            assert await readiness(running) == "engine full"
            async with connect(running.url) as refused:
                error = (await until(refused, "error"))["error"]
                assert (error["code"], await close_code(refused)) == ("server_full", 1013)
            assert 'reason="full"' in host.metrics.render({})
            assert "w" in said(await say_something(client))
        await ready(running)
        for _ in range(3):  # who leaves at once takes nobody's place
            with contextlib.suppress(OSError):
                rude = await connect(running.url)
                rude.transport.abort()
        await until_true(lambda: host.calls == 0)
        async with connect(running.url) as client:
            await until(client, "session.created")


async def test_a_closed_answer_stops_within_one_step_and_no_more_is_made_than_is_taken() -> None:
    brain = EchoBrain(piece_s=0.005)
    async with remote_of(echo_engine(brain)) as engine:
        session = engine.open()
        async with aclosing(session.respond(LONG, OPTIONS)) as pieces:
            for _ in range(3):
                await anext(pieces)
            await asyncio.sleep(0.3)
            assert brain.made <= wire.WINDOW + 1
        await until_true(lambda: brain.closed == 1)
        made = brain.made
        pieces_of_the_next = await all_of(session.respond(LONG, OPTIONS))
        assert brain.made - made == len(pieces_of_the_next) - 1 == 200
        async with aclosing(session.respond(LONG, OPTIONS)) as pieces:
            await anext(pieces)
            made = brain.made
        await until_true(lambda: brain.closed == 2)
        assert brain.made - made <= 1
        await session.close()


async def test_an_engine_that_thinks_meanwhile_knows_how_long_speech_will_sound() -> None:
    seen: list[float] = []

    class Thinking(EchoBrain):
        async def generate(
            self, messages: Sequence[Message], options: GenerationOptions
        ) -> AsyncGenerator[str | Finished, None]:
            for _ in range(10):
                seen.append(options.speech_ahead_s())
                await asyncio.sleep(0.05)
                yield "well "
            yield Finished("stop", 0, 0, 10)

    ahead_s = iter([2.0, *[7.0] * 100])
    options = GenerationOptions(thinking="speak_first", speech_ahead_s=lambda: next(ahead_s))
    async with remote_of(echo_engine(Thinking())) as engine:
        session = engine.open()
        assert len(await all_of(session.respond(LONG, options))) == 11
        await session.close()
    assert 1.5 < seen[0] <= 2.0
    assert seen[1] < seen[0]  # it runs out while nothing is told
    assert 6.5 < max(seen) <= 7.0


async def test_an_engine_that_stops_hands_its_calls_over() -> None:
    one, other = EchoBrain(piece_s=0.01), EchoBrain(piece_s=0.01)
    async with hosted(echo_engine(one)) as (host, url), hosted(echo_engine(other)) as (_, second):
        engine = RemoteEngine([url, second])
        async with engine.in_touch():
            await until_true(lambda: all(address.state for address in engine.addresses))
            session = engine.open()
            session.begin_turn()
            session.append_audio(seconds(1))
            answering = asyncio.create_task(all_of(session.respond(LONG, OPTIONS)))
            await until_true(lambda: one.made > 2)
            await host.drain()
            assert answering.done() or len(await answering) == 201  # not one word was lost
            session.begin_turn()
            session.append_audio(seconds(2))
            assert (await session.end_turn()).text == "w2"
            await all_of(session.respond([Message("user", "you")], OPTIONS))
            assert (one.made, other.made) == (200, 1)
            await session.close()


async def test_a_stranger_and_nonsense_harm_nobody() -> None:
    digest = hashlib.sha256(KEY.encode()).digest()
    keys = Keys({"edge": (digest, Principal("edge", Allowance()))}, Principal("", Allowance()))
    async with hosted(echo_engine(), keys=keys) as (host, url):
        for key in ("", "a-wrong-key-of-some-length"):
            with pytest.raises(EngineError, match="401"):
                await asyncio.to_thread(RemoteEngine([url], key).meet)
        engine = RemoteEngine([url], KEY)
        about = await asyncio.to_thread(engine.meet)
        assert (about.model, about.instructions) == ("the-engine's", "Be brief.")
        session = engine.open()
        session.begin_turn()
        session.append_audio(seconds(1))
        await session.end_turn()
        for nonsense in (b"", b"\xc1", wire.encode(wire.Words(1, "", "", 0, None, False, ""))):
            target = f"{url}{wire.CALL_PATH}"
            headers = {"Authorization": f"Bearer {KEY}"}
            async with connect(target, additional_headers=headers) as rude:
                await rude.send(nonsense)
                with pytest.raises(ConnectionClosed):
                    await rude.recv()
                assert rude.close_code == 1008
        assert (await session.end_turn()).text == "w1"
        await session.close()
        await until_true(lambda: not host.calls)


async def test_a_place_that_no_caller_takes_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.remote_engine.engine._SPARE_S", 0.1)
    async with hosted(echo_engine()) as (host, url):
        engine = RemoteEngine([url])
        async with engine.in_touch():
            assert await engine.reserve() is None
            assert await engine.reserve() is None
            assert await engine.reserve() is None
            assert host.calls == 3
            engine.release()
            await until_true(lambda: host.calls == 2)
            session = engine.open()
            assert (await all_of(session.respond([Message("user", "a")], OPTIONS)))[0] == Speech(
                "a "
            )
            await until_true(lambda: host.calls == 1)
            await session.close()
            await until_true(lambda: host.calls == 0)


async def test_recordings_are_heard_by_the_engine() -> None:
    async with remote_of(echo_engine()) as engine:
        heard = await engine.recordings.hear(seconds(1, 2), Wish(language="en"))
        assert (heard.text, heard.language) == ("w1 w2", "en")


async def test_sounds_are_kept_as_long_as_the_edge_has_them() -> None:
    from engine.ear.manner import Note

    class Noting(type(echo_engine().open())):  # type: ignore[misc]
        async def end_turn(self) -> Transcript:
            return Transcript("loud", "loud", 1, Note("(shouted)"))

    behind = echo_engine()
    opened = behind.open
    behind.open = lambda: _as(opened(), Noting)  # type: ignore[method-assign]
    async with hosted(behind) as (host, url):
        engine = RemoteEngine([url])
        session = engine.open()
        transcript = await session.end_turn()
        message = Message("user", transcript.text, transcript.sound)
        said = await all_of(session.respond([message], OPTIONS))
        assert "(shouted) " in [piece.text for piece in said[:-1]]
        assert host.sounds == 1
        del transcript, message
        gc.collect()
        await session.prefill([])
        assert host.sounds == 0
        await session.end_turn()
        await session.close()
        await until_true(lambda: host.sounds == 0)


async def test_tls_and_what_is_wrong_with_a_configuration(tmp_path: Path) -> None:
    for settings, words in (
        ({"engine.kind": "remote"}, "go together"),
        ({"engine.url": "ws://here:1"}, "go together"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_config(None, settings)
    crt, key = certificate(tmp_path)
    secured = ServerConfig(port=0, tls_certificate=crt, tls_key=key)
    async with hosted(echo_engine(), Config(server=secured)) as (_, url):
        trusting = EngineConfig(kind="remote", url=url, tls_authority=crt)
        session = (await asyncio.to_thread(load_elsewhere, trusting)).open()
        assert (await session.end_turn()).text == ""
        await session.close()
        with pytest.raises(ConfigError, match="self-signed"):
            await asyncio.to_thread(load_elsewhere, EngineConfig(kind="remote", url=url))
    with pytest.raises(ConfigError, match="tls_authority"):
        load_elsewhere(EngineConfig(kind="remote", url=url, tls_authority="/no"))
    for url, words in (("http://here:1", "form ws"), ("ws://127.0.0.1:9", "no engine answers")):
        config = load_config(None, {"engine.kind": "remote", "engine.url": url})
        with pytest.raises(ConfigError, match=words):
            await asyncio.to_thread(Server(config, voice=ScriptedVoice(), vad=LoudnessVad()).load)


def seconds(*words: int) -> np.ndarray:
    return np.repeat(np.asarray(words, np.float32) / 100, RATE)


def _as(thing: Any, kind: type) -> Any:
    thing.__class__ = kind
    return thing


async def until_true(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
