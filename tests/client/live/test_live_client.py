"""The parts of a live call together, with a scripted sound card and a scripted server."""

import asyncio
import contextlib
import io

import numpy as np
import pytest

from client.caller.caller import set_up
from client.live.connection import Connection
from client.live.devices import DeviceError
from client.live.intake import MAX_WAITING_S, TooSlow
from client.live.keys import REPEAT_S
from client.live.live_client import LiveClient, Parts
from client.realtime import SessionOptions, connect
from client.screen import Screen
from tests._support.servers import scripted_server

pytestmark = pytest.mark.realtime


class Card:
    """Gives and takes what the test says."""

    input_latency_s = 0.01
    output_latency_s = 0.02

    def __init__(self) -> None:
        self.capture = self.render = lambda _: None  # until it is started
        self.broken: str | None = None
        self.closed = False

    def start(self, capture, render) -> None:
        self.capture, self.render = capture, render

    def fault(self) -> str | None:
        return self.broken

    def close(self) -> None:
        self.closed = True


class Talk:
    """A call that runs beside the test."""

    def __init__(self, call: LiveClient, card: Card, out: io.StringIO) -> None:
        self.call, self.card, self.out = call, card, out
        self.running = asyncio.create_task(call.run())

    async def until(self, text: str, times: int = 1) -> None:
        """Until the screen shows it, 20 ms of sound at a time."""
        async with asyncio.timeout(90):
            while self.out.getvalue().count(text) < times:
                self.card.render(480)
                self.card.capture(np.zeros(480, np.float32))
                await asyncio.sleep(0.001)
                assert not self.running.done() or self.running.result() is None


@contextlib.asynccontextmanager
async def talking(*, push_to_talk: bool = False):
    card, out = Card(), io.StringIO()
    screen = Screen(out)
    async with scripted_server() as (url, _):
        line = Connection(await connect(url), url, None, screen.line)
        await set_up(line._client, SessionOptions(duplex=True, manual_turns=push_to_talk))
        call = LiveClient(Parts(line, card, screen, None), push_to_talk=push_to_talk)
        talk = Talk(call, card, out)
        try:
            yield talk
        finally:
            call.press("q")
            with contextlib.suppress(DeviceError, TooSlow):
                await talk.running
            await line.close()
            assert card.closed


def loud(seconds: float) -> np.ndarray:
    return np.full(round(24_000 * seconds), 0.3, np.float32)


async def test_a_turn_that_is_too_short_is_not_sent(monkeypatch):
    async with talking(push_to_talk=True) as talk:
        await talk.until("ready")
        now = [100.0]
        monkeypatch.setattr("client.live.live_client.monotonic", lambda: now[0])
        for sound, word in ((loud(0.06), "(too short)"), (loud(0.5), "(sent)")):
            talk.call.press(" ")
            while not talk.call._push.talking:
                await asyncio.sleep(0.001)
            talk.card.capture(sound)
            while talk.call._intake._chunks:
                await asyncio.sleep(0.001)
            talk.call.press(" ")
            while talk.call._keys.qsize():
                await asyncio.sleep(0.001)
            now[0] += 2 * REPEAT_S
            await talk.until(word)
        await talk.until("It is ten.")
        assert talk.out.getvalue().count("(speak)") == 2


async def test_a_device_that_is_unplugged():
    async with talking() as talk:
        await talk.until("speak")
        talk.card.broken = "the microphone has stopped"
        with pytest.raises(DeviceError, match="the microphone has stopped"):
            await asyncio.wait_for(talk.running, 90)


async def test_a_connection_that_takes_nothing():
    async with talking() as talk:
        await talk.until("speak")
        talk.card.capture(np.zeros(round(24_000 * (MAX_WAITING_S + 0.1)), np.float32))
        with pytest.raises(TooSlow):
            await asyncio.wait_for(talk.running, 90)


async def test_a_turn_that_was_measured_is_not_measured_again():
    async with talking() as talk:
        await talk.until("speak")
        for sound, is_speech in ((loud(0.1), True), (np.zeros(480, np.float32), False)):
            talk.call._conversation.speech_end_s = None  # as a turn leaves it
            talk.card.capture(sound)
            while talk.call._intake._chunks:
                await asyncio.sleep(0.001)
            assert (talk.call._conversation.speech_end_s is not None) == is_speech
