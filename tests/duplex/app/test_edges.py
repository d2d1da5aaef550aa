"""Two servers as processes, on a real store and behind a real HAProxy: what a caller notices when
one is stopped or dies."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests._support.edges import ALICE, BOB, Edge, balanced, edges
from tests._support.proxies import HAPROXY
from tests._support.stores import PROGRAM, RunningStore, running_store
from tests._support.wire import close_code, say_something, send, until

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs valkey-server or redis-server"),
]
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunningStore]:
    with running_store(tmp_path) as running:
        yield running


async def call(url: str, key: str = ALICE) -> tuple[str, ClientConnection]:
    """A call, and the first that it is told."""
    connection = await connect(url, additional_headers={"Authorization": f"Bearer {key}"})
    event: dict[str, Any] = json.loads(await connection.recv())
    return event["error"]["code"] if "error" in event else event["type"], connection


async def until_taken(url: str) -> float:
    """Call until there is a place; returns the seconds that took."""
    began_s = time.monotonic()
    async with asyncio.timeout(60):
        while True:
            told, connection = await call(url)
            await connection.close()
            if told == "session.created":
                return time.monotonic() - began_s
            await asyncio.sleep(0.1)


async def resumable(url: str) -> tuple[ClientConnection, dict[str, Any]]:
    told, connection = await call(url)
    assert told == "session.created"
    await send(connection, "session.update", session={"duplex": {"resume": True}})
    return connection, await until(connection, "duplex.resume")


def again(url: str, offer: dict[str, Any]) -> str:
    return f"{url}?resume={offer['token']}&after={offer['event_id']}"


async def test_a_server_that_dies_gives_its_places_back(
    tmp_path: Path, store: RunningStore
) -> None:
    async with edges(tmp_path, store) as (a, b):
        held = [await call(a.url) for _ in range(2)]
        assert [told for told, _ in held] == ["session.created"] * 2
        assert (await call(b.url))[0] == "rate_limit_exceeded"
        a.process.kill()
        a.gone()
        assert await close_code(held[0][1]) == 1006  # no goodbye
        assert (await call(b.url))[0] == "rate_limit_exceeded"
        assert await until_taken(b.url) < 10  # the lease is 2 s


@needs_haproxy
async def test_one_is_stopped_and_the_other_takes_over(tmp_path: Path, store: RunningStore) -> None:
    async with edges(tmp_path, store) as (a, b), balanced(tmp_path, a, b) as url:
        first, offer = await resumable(url)
        on_a, rest = (a, b) if offer["token"].startswith("a.") else (b, a)
        await send(first, "input_audio_buffer.append", audio="AAAA" * 400)
        speaking = asyncio.create_task(say_something(first))
        await asyncio.sleep(0.2)
        on_a.process.send_signal(signal.SIGTERM)
        assert (await speaking)["status"] == "completed"  # it is finished first
        assert await close_code(first) == 1012
        told, second = await _call_at(url, rest)
        assert told == "session.created"
        assert (await say_something(second))["status"] == "completed"
        await asyncio.to_thread(on_a.gone)
        assert on_a.process.returncode == 0
        assert (await call(rest.url))[0] == "session.created"  # the place of the first is free
        assert (await call(rest.url))[0] == "rate_limit_exceeded"


@needs_haproxy
async def test_a_call_is_resumed_where_it_is(tmp_path: Path, store: RunningStore) -> None:
    async with edges(tmp_path, store) as (a, b), balanced(tmp_path, a, b) as url:
        for _ in range(4):  # by the number of calls alone it would go elsewhere, once at least
            lost, offer = await resumable(url)
            lost.transport.abort()
            _, other = await call(url, BOB)
            resumed = await connect(
                again(url, offer), additional_headers={"Authorization": f"Bearer {ALICE}"}
            )
            assert (await say_something(resumed))["status"] == "completed"
            await resumed.close()
            await other.close()
            await asyncio.sleep(0.3)


async def _call_at(url: str, edge: Edge) -> tuple[str, ClientConnection]:
    """Call until the proxy has noticed which server takes calls."""
    async with asyncio.timeout(30):
        while True:
            try:
                told, connection = await call(url)
            except (WebSocketException, OSError):
                await asyncio.sleep(0.1)
                continue
            if told == "session.created":
                return told, connection
            await connection.close()
