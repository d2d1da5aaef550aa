"""A live call outlives its connection where the server holds it."""

import asyncio
import base64
import contextlib
import io
from typing import Any

import numpy as np
import pytest

from client.caller.caller import set_up
from client.live.connection import BACK, LOST, RETRY_S, Connection
from client.live.live_client import LiveClient, Parts
from client.realtime import (
    ConnectionDropped,
    ConnectionLost,
    Received,
    SessionOptions,
    Unreachable,
    connect,
)
from client.screen import Screen
from duplex.config import Config, ServerConfig
from duplex.testing.virtual_time import VirtualTimeLoop
from tests._support.servers import running_server

pytestmark = pytest.mark.realtime

SECOND = np.zeros(24_000, np.float32)


@contextlib.asynccontextmanager
async def called(**session):
    said: list[str] = []
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        client = await connect(running.url)
        line = Connection(client, running.url, None, said.append)
        try:
            options = SessionOptions(duplex=True, manual_turns=True, **session)
            await set_up(client, options, line.note)
            yield line, client, said, running
        finally:
            await line.close()


def drop(client) -> None:
    """The network goes, without a closing handshake."""
    client._websocket.transport.abort()


async def until(line: Connection, kind: str) -> list[dict]:
    events: list[Any] = []
    async with asyncio.timeout(90):
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


OFFER = {"type": "duplex.resume", "event_id": "1", "token": "t", "resume_s": 10}
CLEAR = {"type": "input_audio_buffer.clear"}


class Wire:
    """A connection that tells ``events``, and then drops or, if it ``stays``, is silent."""

    def __init__(self, *events: dict, stays: bool = False) -> None:
        self.events, self.stays = list(events), stays
        self.sent: list[dict] = []

    async def receive(self) -> Received:
        if self.events:
            return Received(0.0, self.events.pop(0))
        if self.stays:
            await asyncio.Event().wait()
        raise ConnectionDropped("the connection was lost")

    async def send(self, event: dict) -> None:
        if not self.events and not self.stays:
            raise ConnectionDropped("the connection was lost")
        self.sent.append(event)


class SilentCard:
    """Gives and takes nothing."""

    input_latency_s = output_latency_s = 0.0

    def start(self, capture: object, render: object) -> None:
        pass

    def fault(self) -> None:
        return None

    def close(self) -> None:
        pass


class Network:
    """What each try to connect again gets, None: nobody there; the last for ever on."""

    def __init__(self, monkeypatch, first: Wire, *later: Wire | None) -> None:
        self.said: list[str] = []
        self.line = Connection(first, "ws://x", None, self.said.append)  # type: ignore[arg-type]
        self._later = list(later)
        self.tried_s: list[float] = []
        monkeypatch.setattr("client.live.connection.take_up", self._take_up)

    async def _take_up(self, *_: object, **__: object) -> Wire:
        self.tried_s.append(asyncio.get_running_loop().time())
        wire = self._later.pop(0) if len(self._later) > 1 else self._later[0]
        if wire is None:
            raise Unreachable("nobody there")
        return wire


def in_virtual_time(test) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(test)


async def receive(line: Connection, for_s: float) -> list[dict]:
    """All that comes in a time."""
    events = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            while True:
                events.append((await line.receive()).event)
    return events


def test_a_server_that_takes_the_call_and_drops_it_at_once(monkeypatch):
    network = Network(monkeypatch, Wire(OFFER), Wire())

    async def test() -> None:
        with pytest.raises(ConnectionLost, match="did not come back"):
            await receive(network.line, 60)
        assert asyncio.get_running_loop().time() == pytest.approx(10)

    in_virtual_time(test())
    assert network.tried_s[:3] == [0, RETRY_S, 2 * RETRY_S], "only the first try comes at once"
    assert network.said == [LOST]


def test_each_outage_has_the_whole_patience(monkeypatch):
    again = [Wire({"type": "a"}), *([None] * 15), Wire({"type": "b"}), *([None] * 15)]
    network = Network(monkeypatch, Wire(OFFER), *again, Wire({"type": "c"}, stays=True))

    async def test() -> None:
        events = await receive(network.line, 60)
        assert [event["type"] for event in events] == ["duplex.resume", "a", "b", "c"]

    in_virtual_time(test())
    assert network.said == 3 * [LOST, BACK]


def test_a_server_that_has_nothing_to_tell(monkeypatch):
    wire = Wire(stays=True)
    network = Network(monkeypatch, Wire(OFFER), None, wire)

    async def test() -> None:
        receiving = asyncio.create_task(receive(network.line, 60))
        await asyncio.sleep(0.1)
        await network.line.send(CLEAR)
        await receiving

    in_virtual_time(test())
    assert wire.sent == [CLEAR]
    assert network.said == [LOST, BACK]


def test_a_call_that_is_interrupted_and_dropped(monkeypatch):
    """It is told what was heard by what receives, which is also what connects again."""
    delta = base64.b64encode(bytes(4800)).decode()
    audio = {"type": "response.output_audio.delta", "item_id": "a", "delta": delta}
    started = {"type": "input_audio_buffer.speech_started"}
    wire = Wire(stays=True)
    network = Network(monkeypatch, Wire(OFFER, audio, started), wire)

    async def test() -> None:
        call = LiveClient(
            Parts(network.line, SilentCard(), Screen(io.StringIO()), None), push_to_talk=False
        )
        asyncio.get_running_loop().call_later(5, call.press, "q")
        await call.run()

    in_virtual_time(test())
    assert [(event["type"], event["item_id"]) for event in wire.sent] == [
        ("conversation.item.truncate", "a")
    ]
    assert network.said == [LOST, BACK]
