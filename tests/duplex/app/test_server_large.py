"""The largest messages that the protocol allows, over a real socket: taken, or refused in words."""

import asyncio
import base64
import time

import pytest
from websockets.asyncio.client import connect

from duplex.protocol.items import MAX_AUDIO_BYTES
from tests._support.servers import scripted_server
from tests._support.wire import say_something, send, until

pytestmark = pytest.mark.realtime

LARGEST = base64.b64encode(bytes(MAX_AUDIO_BYTES)).decode()


async def test_the_largest_append_is_taken_and_the_next_is_refused_while_others_are_served() -> (
    None
):
    async with scripted_server() as (url, _), connect(url) as large, connect(url) as other:
        began = time.monotonic()
        await send(large, "input_audio_buffer.append", audio=LARGEST)
        await send(large, "input_audio_buffer.append", audio=LARGEST, event_id="again")
        answered = asyncio.create_task(say_something(other))
        error = (await until(large, "error"))["error"]
        assert (error["code"], error["event_id"]) == ("rate_limit_exceeded", "again")
        assert "327.7 s" in error["message"]
        assert (await answered)["status"] == "completed"
        assert (await say_something(large))["status"] == "completed"
        assert (
            time.monotonic() - began < 60
        )  # was 80 of waiting alone, in which no ping was answered


async def test_a_client_that_ends_its_turns_is_told_that_its_append_is_too_long() -> None:
    async with scripted_server() as (url, _), connect(url) as connection:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await send(connection, "session.update", session=session)
        await send(connection, "input_audio_buffer.append", audio=LARGEST, event_id="long")
        error = (await until(connection, "error"))["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_full", "long")
        await send(connection, "input_audio_buffer.commit")
        await until(connection, "input_audio_buffer.committed")


async def test_half_an_hour_of_telephone_sound_at_once_is_refused() -> None:
    async with scripted_server() as (url, _), connect(url) as connection:
        session = {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}
        await send(connection, "session.update", session=session)
        await send(connection, "input_audio_buffer.append", audio=LARGEST, event_id="long")
        error = (await until(connection, "error"))["error"]
        assert (error["code"], error["event_id"]) == ("rate_limit_exceeded", "long")
        assert "1966.1 s" in error["message"]
