"""A call over WebRTC, recorded."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from duplex.config import Config, RecordingConfig, ServerConfig
from duplex.testing.engine import Script
from engine.types import Speech
from tests._support.recordings import RATE, Recorded, whole_in
from tests._support.servers import running_server
from tests._support.webrtc import RATE_HZ, calling

pytestmark = pytest.mark.realtime

STORY = Script(ear_s=0.001, piece_s=0.001, says=[[Speech("This is a long story. ")] * 40])


async def test_an_interrupted_answer_is_as_long_as_it_was_heard(tmp_path: Path) -> None:
    tone = (0.3 * np.sin(np.arange(int(0.8 * RATE_HZ)) * 2 * np.pi * 300 / RATE_HZ)).astype("<f4")
    recording = RecordingConfig(dir=str(tmp_path / "calls"))
    config = Config(server=ServerConfig(port=0), recording=recording)
    async with running_server(config, STORY) as running:
        async with calling(running.http) as caller:
            caller.microphone.say(tone)
            await caller.until("output_audio_buffer.started")
            await asyncio.sleep(1.5)
            caller.microphone.say(tone)
            cut = await caller.until("conversation.item.truncated")
            await asyncio.sleep(0.5)
        async with asyncio.timeout(30):
            while not (kept := whole_in(tmp_path / "calls")):
                await asyncio.sleep(0.05)
    recorded = Recorded(kept[0])
    assert recorded.call["client"] == "webrtc"
    question, answer, *_ = recorded.lines
    assert (question["role"], answer["role"], answer["cut"]) == ("user", "assistant", True)
    truncated = caller.of("conversation.item.truncated")
    heard_s = min(event["audio_end_ms"] for event in truncated) / 1000
    assert cut["audio_end_ms"] / 1000 >= heard_s
    assert answer["end"] - answer["start"] == pytest.approx(heard_s, abs=0.05)
    left, right = recorded.sound.T
    said = right[round(answer["start"] * RATE) : round(answer["end"] * RATE)]
    assert np.abs(said[:-2400]).reshape(-1)[2400:].max() > 0.1
    assert np.abs(left[: round(question["end"] * RATE)]).max() > 0.1
