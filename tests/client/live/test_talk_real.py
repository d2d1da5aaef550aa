"""Real models, a real sound server, and loudspeaker and microphone in one room."""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.bench.server_process import serving
from duplex.audio.resample import resample
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config
from engine.ear.whisper import WhisperEar
from tests._support.pulse import RATE, UNAVAILABLE, Pulse, sound_server, talking, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
    pytest.mark.timeout(900),
]


async def test_the_answer_comes_out_of_the_loudspeaker_and_does_not_interrupt_itself(
    models: Callable[[str], Path],
) -> None:
    question = speaker(Config())("What is the capital of France?")
    ear = WhisperEar(models("whisper-tiny.en"))

    def scenario(url: str, pulse: Pulse) -> str:
        pulse.couple(delay_ms=60)
        with talking(pulse, "--url", url, "--echo-guard", "on") as terminal:
            try:
                wait_for(lambda: terminal.shows("\nspeak\n"), "no call")
                pulse.say(question)
                wait_for(lambda: terminal.shows("voice-to-voice"), "no answer")
                wait_for(pulse.loudspeaker.is_loud, "no answer is heard")
                wait_for(lambda: not pulse.loudspeaker.is_loud(), "it does not end")
                terminal.press("q")
                wait_for(lambda: terminal.process.poll() is not None, "it goes on")
            finally:
                print(terminal.screen)
            return terminal.screen

    with tempfile.TemporaryDirectory(prefix="pulse") as home, sound_server(Path(home)) as pulse:
        async with serving(server_command([])) as server:
            screen = await asyncio.to_thread(scenario, server.url, pulse)
        sounded = pulse.loudspeaker.samples
    loud = np.flatnonzero(np.abs(sounded) > 0.01)
    answer = sounded[max(0, loud[0] - RATE // 4) : loud[-1] + RATE // 4].astype(np.float32)
    heard = ear.transcribe(resample(answer, RATE, 16_000))
    print(heard)
    assert "capital" in heard.lower() or "france" in heard.lower()  # a busy machine stutters
    said = [line.split("you> ")[1].lower() for line in screen.splitlines() if "you> " in line]
    assert "france" in said[-1], said
    assert not any("paris" in part for part in said), "it heard only the caller"
    assert screen.count("assistant>") == 1, "and answered once"
    assert "interrupted]" not in screen
