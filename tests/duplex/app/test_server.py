"""The server on a real socket: admission, faults that stay in their call, and goodbyes."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests._support.servers import scripted_server
from tests._support.wire import say_something, send, tone, until

pytestmark = pytest.mark.realtime


async def test_a_call_is_greeted_and_answered() -> None:
    async with scripted_server() as (url, _), connect(url) as connection:
        created = await until(connection, "session.created")
        assert created["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        assert (await say_something(connection))["status"] == "completed"


async def test_browsers_get_their_subprotocol() -> None:
    async with scripted_server() as (url, _):
        protocols = ["realtime", "openai-insecure-api-key.x"]
        async with connect(url, subprotocols=protocols) as connection:  # type: ignore[arg-type]
            assert connection.subprotocol == "realtime"


async def test_other_paths_are_not_found() -> None:
    async with scripted_server() as (url, _):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url.replace("/v1/realtime", "/other"))
        assert refused.value.response.status_code == 404


async def test_past_its_capacity_a_caller_is_told_and_the_next_place_is_free_again() -> None:
    async with scripted_server(max_calls=1) as (url, _):
        async with connect(url) as first:
            await until(first, "session.created")
            async with connect(url) as second:
                error = (await until(second, "error"))["error"]
                assert error["code"] == "server_full"
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
            assert (await say_something(first))["status"] == "completed"
        async with asyncio.timeout(90):
            while True:
                async with connect(url) as third:
                    if json.loads(await third.recv())["type"] == "session.created":
                        break


async def test_two_calls_know_nothing_of_each_other() -> None:
    async with scripted_server() as (url, engine), connect(url) as one, connect(url) as two:
        await asyncio.gather(until(one, "session.created"), until(two, "session.created"))
        for message in ("{", "[]", '{"type":"input_audio_buffer.append","audio":"AAAA"}'):
            await one.send(message)
        responses = await asyncio.gather(say_something(one), say_something(two))
        assert [response["status"] for response in responses] == ["completed", "completed"]
        assert all(len(session.histories[-1]) == 2 for session in engine.sessions)


async def test_a_client_that_vanishes_leaves_the_other_call_as_it_was() -> None:
    async with scripted_server() as (url, engine), connect(url) as stays:
        await until(stays, "session.created")
        goes = await connect(url)
        await until(goes, "session.created")
        await send(goes, "input_audio_buffer.append", audio=tone(1.0))
        goes.transport.abort()
        assert (await say_something(stays))["status"] == "completed"
        async with asyncio.timeout(90):
            while not engine.sessions[1].closed:
                await asyncio.sleep(0)
        assert not engine.sessions[0].closed


async def test_a_fault_of_ours_ends_its_call_alone_and_is_told() -> None:
    async with scripted_server() as (url, engine), connect(url) as one, connect(url) as two:
        await asyncio.gather(until(one, "session.created"), until(two, "session.created"))

        def fail(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        engine.sessions[0].begin_turn = fail  # type: ignore[method-assign]
        await send(one, "input_audio_buffer.append", audio=tone(1.0))
        error = (await until(one, "error"))["error"]
        assert (error["type"], error["message"]) == ("server_error", "internal error")
        with pytest.raises(ConnectionClosed) as closed:
            await one.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert (await say_something(two))["status"] == "completed"


async def test_a_silent_client_is_told_before_it_is_dropped() -> None:
    async with scripted_server(idle_timeout_s=0.05) as (url, _), connect(url) as connection:
        error = (await until(connection, "error"))["error"]
        assert "nothing was received" in error["message"]
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_when_the_server_stops_its_callers_are_told() -> None:
    async with scripted_server() as (url, engine):
        connection = await connect(url)
        await until(connection, "session.created")
    assert (await until(connection, "error"))["error"]["code"] == "server_stopping"
    with pytest.raises(ConnectionClosed) as closed:
        await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert engine.sessions[0].closed


async def test_a_message_over_the_limit_ends_the_call() -> None:
    async with scripted_server(max_message_bytes=1000) as (url, _), connect(url) as connection:
        await until(connection, "session.created")
        await send(connection, "input_audio_buffer.append", audio="A" * 2000)
        with pytest.raises(ConnectionClosed) as closed:
            await until(connection, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
