"""A live call outlives its connection where the server holds it."""

import asyncio
import contextlib

import numpy as np
import pytest
from servers import running_server

from client.call import set_up
from client.live.line import BACK, LOST, Line
from client.realtime import ConnectionDropped, ConnectionLost, SessionOptions, connect
from duplex.config import Config, ServerConfig

SECOND = np.zeros(24_000, np.float32)


@contextlib.asynccontextmanager
async def called(**session):
    said: list[str] = []
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        client = await connect(running.url)
        line = Line(client, running.url, None, said.append)
        try:
            options = SessionOptions(duplex=True, manual_turns=True, **session)
            await set_up(client, options, line.note)
            yield line, client, said, running
        finally:
            await line.close()


def drop(client) -> None:
    """The network goes, without a closing handshake."""
    client._websocket.transport.abort()


async def until(line: Line, kind: str) -> list[dict]:
    events = []
    async with asyncio.timeout(20):
        while not events or events[-1]["type"] != kind:
            events.append((await line.receive()).event)
    return events


async def test_the_call_is_taken_up_with_all_that_was_said():
    async with called(resume=True) as (line, client, said, running):
        await until(line, "duplex.resume")
        await line.append(SECOND)
        await line.send({"type": "input_audio_buffer.commit"})
        await until(line, "input_audio_buffer.committed")
        drop(client)
        await until(line, "conversation.item.input_audio_transcription.completed")
        assert said == [LOST, BACK]
        await line.append(SECOND)
        await line.send({"type": "response.create"})
        events = await until(line, "response.done")
        assert events[-1]["response"]["status"] == "completed"
        assert len(running.engine.sessions) == 1, "it is the same call"


async def test_what_is_said_while_nobody_listens_is_not_kept():
    async with called(resume=True) as (line, client, said, _):
        await until(line, "duplex.resume")
        drop(client)
        receiving = asyncio.create_task(until(line, "input_audio_buffer.cleared"))
        while LOST not in said:
            await line.append(SECOND)  # does not raise
            await asyncio.sleep(0)
        await line.append(SECOND)
        await line.send({"type": "input_audio_buffer.clear"})  # waits for the connection
        await receiving
        assert said == [LOST, BACK]


async def test_a_send_that_fails_late_does_not_stop_what_goes_on_again():
    async with called(resume=True) as (line, client, said, _):
        await until(line, "duplex.resume")
        failing, entered = asyncio.Event(), asyncio.Event()

        async def send(event: object) -> None:
            entered.set()
            await failing.wait()
            raise ConnectionDropped("the connection was lost")

        client.send = send
        sending = asyncio.create_task(line.send({"type": "input_audio_buffer.clear"}))
        await entered.wait()
        drop(client)
        receiving = asyncio.create_task(until(line, "input_audio_buffer.cleared"))
        while BACK not in said:
            await asyncio.sleep(0.01)
        failing.set()
        await sending
        await receiving


async def test_without_an_offer_the_call_is_over():
    async with called() as (line, client, said, _):
        drop(client)
        with pytest.raises(ConnectionDropped):
            await until(line, "never")
        with pytest.raises(ConnectionDropped):
            await line.append(SECOND)
        assert said == []


async def test_a_server_that_does_not_come_back():
    async with called(resume=True) as (line, client, said, _):
        await until(line, "duplex.resume")
        line._patience_s = 0.05
        line._url = "ws://127.0.0.1:9"  # nobody is there
        drop(client)
        with pytest.raises(ConnectionLost, match="did not come back"):
            await until(line, "never")
        assert said == [LOST]
