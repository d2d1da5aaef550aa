"""The server as an ASGI application, behind a real uvicorn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import httpx2
import pytest
import uvicorn
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from duplex import AsgiApp, Config, ConfigError
from duplex.config import LimitsConfig, ModelsConfig, ServerConfig
from duplex.testing import LoudnessVad, ScriptedVoice
from tests._support.parrot import HelloEar, Parrot
from tests._support.wire import say_something, until

pytestmark = pytest.mark.realtime

KEY = "a-key-of-sixteen-letters-or-more"
AUTHORISED = {"Authorization": f"Bearer {KEY}"}
CONFIG = Config(
    server=ServerConfig(max_calls=1, drain_s=5.0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),
    models=ModelsConfig(cache_dir="/nonexistent"),
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPLEX_API_KEY", KEY)


def application(config: Config = CONFIG) -> AsgiApp:
    parts = {"ear": HelloEar(), "brain": Parrot(), "voice": ScriptedVoice(), "vad": LoudnessVad()}
    return AsgiApp(config, **parts)


@contextlib.asynccontextmanager
async def served(app: AsgiApp) -> AsyncIterator[str]:
    """Yields host and port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "uvicorn has ended"
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def test_a_call_is_held_and_a_second_one_is_told_that_it_is_full() -> None:
    app = application()
    async with served(app) as address:
        url = f"ws://{address}/v1/realtime"
        async with connect(url, additional_headers=AUTHORISED, subprotocols=["realtime"]) as caller:  # type: ignore[list-item]
            assert caller.subprotocol == "realtime"
            await until(caller, "session.created")
            assert app.open_calls == 1
            response = await say_something(caller)
            (part,) = response["output"][0]["content"]
            assert part["transcript"] == "You said: Hello there."
            async with connect(url, additional_headers=AUTHORISED) as second:
                assert "server_full" in str(await second.recv())
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
        while app.open_calls:
            await asyncio.sleep(0.01)


async def test_plain_requests_are_answered_and_strangers_are_not() -> None:
    async with served(application()) as address, httpx2.AsyncClient() as client:
        page = await client.get(f"http://{address}/")
        assert page.status_code == 200
        assert b"<html" in page.content
        secrets = f"http://{address}/v1/realtime/client_secrets"
        refused = await client.post(secrets, json={})
        made = await client.post(secrets, json={}, headers=AUTHORISED)
        assert (refused.status_code, made.status_code) == (401, 200)
        url = f"ws://{address}/v1/realtime"
        with pytest.raises(InvalidStatus) as stranger:
            await connect(url)
        assert stranger.value.response.status_code == 401
        secret = {"Authorization": f"Bearer {made.json()['value']}"}
        async with connect(url, additional_headers=secret) as caller:
            await until(caller, "session.created")


async def test_a_stop_lets_callers_know() -> None:
    app = application()
    async with served(app) as address:
        url = f"ws://{address}/v1/realtime"
        async with connect(url, additional_headers=AUTHORISED) as caller:
            await until(caller, "session.created")
            draining = asyncio.create_task(app.drain())
            with pytest.raises(ConnectionClosed) as closed:
                await until(caller, "nothing of that name")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            await draining


async def test_what_a_server_says_last_reaches_a_client_that_goes_on_speaking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sound can go nowhere any more; what was said to it can, and so can the goodbye."""

    async def hold(connection: ServerConnection) -> None:
        for number in range(20):
            await connection.send(str(number))
        await connection.close(1013, "full")

    said: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "websocket.receive" if said else "websocket.connect", "text": "sound"}

    async def take(message: Mapping[str, Any]) -> None:
        said.append(message)
        await asyncio.sleep(0.005)

    async with serve(hold, "127.0.0.1", 0) as listening:
        url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/realtime"
        app = application()
        inside = SimpleNamespace(running=SimpleNamespace(page=url.replace("ws", "http", 1)))
        monkeypatch.setattr(app, "_start", AsyncMock(return_value=inside))
        scope = {"type": "websocket", "path": "/v1/realtime", "headers": []}
        async with asyncio.timeout(30):
            await app(scope, receive, take)
    assert said[0]["type"] == "websocket.accept"
    assert [message["text"] for message in said[1:-1]] == [str(number) for number in range(20)]
    assert said[-1] == {"type": "websocket.close", "code": 1013, "reason": "full"}


def test_strangers_are_not_served_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUPLEX_API_KEY")
    with pytest.raises(ConfigError, match="set a key"):
        application()
    application(replace(CONFIG, server=replace(CONFIG.server, insecure=True)))
