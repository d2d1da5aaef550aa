"""Calls over WebRTC, by a client of aiortc and over the loopback."""

import asyncio

import numpy as np
import pytest

from duplex.config import Config, ServerConfig
from tests._support.servers import FAST, running_server
from tests._support.webrtc import RATE_HZ, calling

pytestmark = pytest.mark.realtime
CONFIG = Config(server=ServerConfig(port=0, max_calls=2))


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 300 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(
        np.float32
    )


async def test_a_spoken_turn_is_answered_over_the_track() -> None:
    async with running_server(CONFIG, FAST) as running, calling(running.http) as caller:
        await caller.until("session.created")
        caller.microphone.say(tone(0.8))
        stopped = await caller.until("output_audio_buffer.stopped")
        started = await caller.until("output_audio_buffer.started")
        done = await caller.until("response.done")
        kinds = [event["type"] for event in caller.events]
        assert started["response_id"] == stopped["response_id"] == done["response"]["id"]
        assert "response.output_audio.delta" not in kinds
        assert "response.output_audio_transcript.delta" in kinds
        assert np.abs(caller.heard).max() > 0.05
        assert len(running.server.calls) == 1
        print(kinds)
    async with asyncio.timeout(5):
        while len(running.server.calls):
            await asyncio.sleep(0.02)
