"""Two servers of the same callers, in one process, on a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from duplex.config import Config, LimitsConfig, ServerConfig, StoreConfig, load_config
from duplex.errors import ConfigError
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from tests._support.metrics_page import samples
from tests._support.servers import Running, running_server
from tests._support.stores import PROGRAM, RunningStore, running_store
from tests._support.wire import close_code, say_something, send, until
from tests.duplex.app.test_server_access import ALICE, BOB, bearer, keys, request

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(PROGRAM is None, reason="needs valkey-server or redis-server"),
]
TWO = Allowance(calls=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunningStore]:
    with running_store(tmp_path) as running:
        yield running


@asynccontextmanager
async def two_servers(
    store: RunningStore, alice: Allowance = TWO, **options: Any
) -> AsyncIterator[tuple[Running, Running]]:
    """Servers a and b. The machine may be busy: the store has time."""
    shared = StoreConfig(url=store.url, budget_ms=2000, **options)
    async with AsyncExitStack() as stack:
        both = []
        for edge in "ab":
            config = Config(
                server=ServerConfig(port=0),
                limits=LimitsConfig(messages_per_s=20),
                store=replace(shared, edge=edge),
            )
            both.append(
                await stack.enter_async_context(running_server(config, keys=keyring(alice)))
            )
        a, b = both
        for running in both:  # its port is known only now
            await running.server.shared.store.announce(
                "a" if running is a else "b", running.url.removesuffix("/v1/realtime"), 60
            )
        yield a, b


def keyring(alice: Allowance) -> Keys:
    made = keys(alice)
    entries = {
        name: (digest, Principal(name, owner.allowance, owner.may_read_metrics, is_key=True))
        for name, (digest, owner) in made._entries.items()
    }
    return Keys(entries, Principal("", Allowance()))


async def first_event(connection: ClientConnection) -> str:
    event = json.loads(await connection.recv())
    return str(event["error"]["code"] if event["type"] == "error" else event["type"])


async def secret_of(running: Running) -> tuple[int, Any]:
    session = {"type": "realtime", "instructions": "Rhyme."}
    status, _, body = await request(
        running.http,
        "POST",
        "/v1/realtime/client_secrets",
        json.dumps({"session": session}).encode(),
        bearer(ALICE),
    )
    return status, json.loads(body)


async def test_a_keys_limit_holds_over_both(store: RunningStore) -> None:
    async with two_servers(store) as (a, b), AsyncExitStack() as calls:

        async def called(running: Running) -> tuple[str, ClientConnection]:
            connecting = connect(running.url, additional_headers=bearer(ALICE))
            connection = await calls.enter_async_context(connecting)
            return await first_event(connection), connection

        told = await asyncio.gather(*(called(running) for running in (a, b, a)))
        kinds = sorted(kind for kind, _ in told)
        assert kinds == ["rate_limit_exceeded", "session.created", "session.created"]
        held = next(connection for kind, connection in told if kind == "session.created")
        await held.close()
        async with asyncio.timeout(30):  # the server learns of it soon
            while (await called(b))[0] != "session.created":
                await asyncio.sleep(0.05)


async def test_a_secret_made_on_one_opens_the_other(store: RunningStore) -> None:
    async with two_servers(store) as (a, b):
        status, made = await secret_of(a)
        assert status == 200
        headers = bearer(made["value"])
        async with connect(b.url, additional_headers=headers) as connection:
            created = await until(connection, "session.created")
            assert created["session"]["instructions"] == "Rhyme."
            assert (await say_something(connection))["status"] == "completed"


async def test_a_call_is_found_where_it_is(store: RunningStore) -> None:
    async with two_servers(store) as (a, b):
        connection = await connect(a.url, additional_headers=bearer(ALICE))
        await send(connection, "session.update", session={"duplex": {"resume": True}})
        offer = await until(connection, "duplex.resume")
        assert offer["token"].startswith("a.")
        connection.transport.abort()
        again = f"{b.url}?resume={offer['token']}&after={offer['event_id']}"
        async with connect(again, additional_headers=bearer(ALICE)) as resumed:
            assert (await say_something(resumed))["status"] == "completed"
            assert resumed.remote_address[1] == urlsplit(a.http).port
        assert len(b.server.calls) == 0
        # Nobody without a key learns where another server is, and no server is made up.
        with pytest.raises(InvalidStatus) as refused:
            await connect(again, additional_headers=bearer("not-a-key-of-anybody"))
        assert refused.value.response.status_code == 401
        lost = f"{b.url}?resume=c.lost&after="
        async with connect(lost, additional_headers=bearer(ALICE)) as nowhere:
            assert (await until(nowhere, "error"))["error"]["code"] == "resume_failed"


async def test_who_was_dropped_by_one_waits_at_the_other(store: RunningStore) -> None:
    async with two_servers(store) as (a, b):
        async with connect(a.url, additional_headers=bearer(BOB)) as abuser:
            for _ in range(300):
                await abuser.send("{}")
            assert await close_code(abuser) == 1008
        for running in (b, a):
            with pytest.raises(InvalidStatus) as refused:
                await connect(running.url, additional_headers=bearer(BOB))
            assert refused.value.response.status_code == 429
        async with connect(b.url, additional_headers=bearer(ALICE)) as other:
            await until(other, "session.created")


async def test_minutes_are_used_on_both_together(store: RunningStore) -> None:
    short = Allowance(minutes_per_day=0.8 / 60)
    async with two_servers(store, short, lease_s=1) as (a, b):
        ends = []
        for running in (a, b):
            connection = await connect(running.url, additional_headers=bearer(ALICE))
            ends.append(close_code(connection))
        assert await asyncio.gather(*ends) == [1008, 1008]
        async with connect(a.url, additional_headers=bearer(ALICE)) as late:
            assert "minutes a day" in (await until(late, "error"))["error"]["message"]


async def test_while_the_store_is_down_open_calls_go_on(store: RunningStore) -> None:
    async with (
        two_servers(store, lease_s=1) as (a, b),
        connect(a.url, additional_headers=bearer(ALICE)) as held,
    ):
        await until(held, "session.created")
        _, made = await secret_of(a)
        store.kill()
        assert (await say_something(held))["status"] == "completed"
        async with connect(b.url, additional_headers=bearer(ALICE)) as refused:
            assert await first_event(refused) == "server_error"
            assert await close_code(refused) == 1013
        async with connect(b.url, additional_headers=bearer(BOB)) as free:
            assert (await say_something(free))["status"] == "completed"
        with pytest.raises(InvalidStatus) as secret:
            await connect(b.url, additional_headers=bearer(made["value"]))
        assert secret.value.response.status_code == 503
        assert (await secret_of(b))[0] == 503
        assert samples(b.server.metrics.render({}))["duplex_store_failures_total"] >= 2
        store.start()
        await asyncio.sleep(1)  # the call that is open takes its place again
        async with (
            connect(b.url, additional_headers=bearer(ALICE)) as second,
            connect(a.url, additional_headers=bearer(ALICE)) as third,
        ):
            assert await first_event(second) == "session.created"
            assert await first_event(third) == "rate_limit_exceeded"
        assert (await say_something(held))["status"] == "completed"


async def test_a_server_starts_while_the_store_is_down(
    store: RunningStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.kill()
    shared = StoreConfig(url=store.url, when_down="admit")
    config = Config(server=ServerConfig(port=0), store=shared)
    async with (
        running_server(config, keys=keyring(TWO)) as running,
        connect(running.url, additional_headers=bearer(ALICE)) as connection,
    ):
        assert (await say_something(connection))["status"] == "completed"
    assert "the store cannot be used" in caplog.text


def test_what_cannot_be_a_store_is_told(tmp_path: Path) -> None:
    for text, told in (
        ("edge = 'a.b'", "edge"),
        ("address = 'http://x'", "address"),
        ("lease_s = 0", "lease_s"),
    ):
        path = tmp_path / "duplex.toml"
        path.write_text(f"[store]\n{text}\n")
        with pytest.raises(ConfigError, match=told):
            load_config(path)
