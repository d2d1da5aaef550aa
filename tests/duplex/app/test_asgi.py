"""The server as an ASGI application, behind a real uvicorn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest
import uvicorn
from msgspec.structs import replace
from websockets.asyncio.client import connect
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


def test_strangers_are_not_served_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUPLEX_API_KEY")
    with pytest.raises(ConfigError, match="set a key"):
        application()
    application(replace(CONFIG, server=replace(CONFIG.server, insecure=True)))
