"""A call whose socket drops is taken up again, and nothing of it is lost."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from duplex.config import Config, ServerConfig
from tests._support.servers import FAST, running_server
from tests._support.wire import close_code, say, say_something, send, until

pytestmark = pytest.mark.realtime

ASK = {"duplex": {"resume": True}}


def config(**options: Any) -> Config:
    return Config(server=ServerConfig(port=0, **options))


async def asked(connection: ClientConnection) -> dict[str, Any]:
    """Ask for a resumable call; returns the offer."""
    await send(connection, "session.update", session=ASK)
    return await until(connection, "duplex.resume")


def resumed(url: str, offer: dict[str, Any], after: str) -> connect:
    return connect(f"{url}?resume={offer['token']}&after={after}")


async def collect(connection: ClientConnection, events: list[dict[str, Any]], last: str) -> None:
    """Read into ``events`` up to the first of type ``last``."""
    async with asyncio.timeout(90):
        while not events or events[-1]["type"] != last:
            events.append(json.loads(await connection.recv()))


def audio(events: list[dict[str, Any]]) -> bytes:
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta) for delta in deltas)


async def test_only_those_who_ask_are_offered_it() -> None:
    async with running_server(config()) as running, connect(running.url) as connection:
        await send(connection, "session.update", session={"instructions": "Hi."})
        events: list[dict[str, Any]] = []
        await collect(connection, events, "session.updated")
        assert "duplex.resume" not in [event["type"] for event in events]
        offer = await asked(connection)
        assert len(offer["token"]) >= 43  # 256 bits
        assert offer["resume_s"] == 30


@pytest.mark.parametrize("lead_s", [2.0, 0.2])  # made before the drop, and while nobody is there
async def test_the_audio_before_and_after_is_the_whole_answer(lead_s: float) -> None:
    async with running_server(config(playout_lead_s=lead_s)) as running:
        whole: list[dict[str, Any]] = []
        async with connect(running.url) as undisturbed:
            await say(undisturbed)
            await collect(undisturbed, whole, "response.done")
        connection = await connect(running.url)
        offer = await asked(connection)
        await say(connection)
        events: list[dict[str, Any]] = []
        await collect(connection, events, "response.output_audio.delta")
        connection.transport.abort()
        async with resumed(running.url, offer, events[-1]["event_id"]) as again:
            await collect(again, events, "response.done")
            assert audio(events) == audio(whole)
            assert len(audio(events)) > 24_000 * 2
            ids = [event["event_id"] for event in events]
            assert len(set(ids)) == len(ids)
            assert (await say_something(again))["status"] == "completed"
        (_, session) = running.engine.sessions
        assert session.histories[-1][:2] == session.histories[0]  # it remembers


async def test_a_socket_that_only_seems_alive_is_replaced() -> None:
    async with running_server(config()) as running:
        async with connect(running.url) as old:
            offer = await asked(old)
            async with resumed(running.url, offer, offer["event_id"]) as new:
                assert (await say_something(new))["status"] == "completed"
                assert await close_code(old) == 1006
        assert len(running.engine.sessions) == 1


async def test_who_says_goodbye_is_not_waited_for() -> None:
    async with running_server(config()) as running:
        async with connect(running.url) as connection:
            offer = await asked(connection)
        async with asyncio.timeout(90):
            while not running.engine.sessions[0].closed:
                await asyncio.sleep(0)
        async with resumed(running.url, offer, offer["event_id"]) as late:
            assert (await until(late, "error"))["error"]["code"] == "resume_failed"
            assert await close_code(late) == 1008


async def test_after_its_time_a_call_is_over() -> None:
    async with running_server(config(resume_s=0.05)) as running:
        connection = await connect(running.url)
        offer = await asked(connection)
        connection.transport.abort()
        async with asyncio.timeout(90):
            while not running.engine.sessions[0].closed:
                await asyncio.sleep(0)
        async with resumed(running.url, offer, offer["event_id"]) as late:
            assert (await until(late, "error"))["error"]["code"] == "resume_failed"


async def test_a_wrong_token_opens_nothing_and_harms_nothing() -> None:
    async with running_server(config()) as running, connect(running.url) as connection:
        offer = await asked(connection)
        for token, after in (("x" * 43, offer["event_id"]), (offer["token"], "event_none")):
            wrong = {**offer, "token": token}
            async with resumed(running.url, wrong, after) as other:
                assert (await until(other, "error"))["error"]["code"] == "resume_failed"
                assert await close_code(other) == 1008
        assert (await say_something(connection))["status"] == "completed"


async def test_events_that_are_kept_no_longer_cannot_be_sent_again() -> None:
    async with running_server(config(resume_bytes=2000)) as running:
        connection = await connect(running.url)
        offer = await asked(connection)
        await say_something(connection)
        connection.transport.abort()
        async with resumed(running.url, offer, offer["event_id"]) as again:
            error = (await until(again, "error"))["error"]
            assert error["code"] == "resume_failed"
            assert "not kept" in error["message"]


async def test_a_call_that_waits_has_a_place_and_is_told_of_in_metrics() -> None:
    async with running_server(config(max_calls=1)) as running:
        connection = await connect(running.url)
        offer = await asked(connection)
        connection.transport.abort()
        async with connect(running.url) as other:
            assert (await until(other, "error"))["error"]["code"] == "server_full"
        async with resumed(running.url, offer, offer["event_id"]) as again:
            assert (await say_something(again))["status"] == "completed"


async def test_without_the_wish_a_dropped_call_is_over() -> None:
    async with running_server(config(), FAST) as running:
        connection = await connect(running.url)
        await until(connection, "session.created")
        connection.transport.abort()
        async with asyncio.timeout(90):
            while not running.engine.sessions[0].closed:
                await asyncio.sleep(0)
