"""The real `duplex talk` at a real sound server, with a terminal of its own."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duplex.testing.engine import Script, ScriptedEngine
from engine.types import Speech
from tests._support.pulse import (
    RATE,
    UNAVAILABLE,
    Pulse,
    Recorder,
    Terminal,
    sound_server,
    talking,
    wait_for,
)
from tests._support.servers import scripted_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
]

# The scripted voice speaks 60 ms for each letter: nine seconds and a half.
ANSWER = "This answer is as long as it needs to be for someone to interrupt it. " * 2
LONG = Script(says=((Speech(ANSWER),),))
SHORT = Script(says=((Speech("Yes, indeed."),),))


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    # Not in `tmp_path`: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pulse") as home, sound_server(Path(home)) as pulse:
        yield pulse


def sound(seconds: float) -> np.ndarray:
    """What the scripted server takes for speech."""
    return (0.3 * np.sin(2 * np.pi * 700 / RATE * np.arange(round(seconds * RATE)))).astype("f4")


def begin(terminal: Terminal, pulse: Pulse) -> None:
    wait_for(lambda: terminal.shows("\nspeak\n") or terminal.shows("\nready\n"), "no call")


def ended(terminal: Terminal) -> int:
    wait_for(lambda: terminal.process.poll() is not None, f"it goes on:\n{terminal.screen}")
    return terminal.process.returncode


def silence_ms(loud_s: list[float], onset_s: float) -> float:
    """From the onset to the last sound before the first gap."""
    gaps = np.flatnonzero(np.diff(loud_s) > 0.2)
    last_s = loud_s[gaps[0]] if len(gaps) else max(loud_s, default=onset_s)
    return 1000 * (last_s - onset_s)


def silent_after(recorder: Recorder, since_s: float) -> float:
    """Wait for silence; seconds from ``since_s`` to the last sound."""
    wait_for(lambda: not recorder.is_loud(), "it does not fall silent")
    return max(recorder.loud_s(since_s), default=since_s) - since_s


async def call(scenario, script: Script, pulse: Pulse, *arguments: str) -> None:
    async with scripted_server(script) as (url, engine):

        def run() -> None:
            with talking(pulse, "--url", url, *arguments) as terminal:
                before = terminal.modes()
                try:
                    begin(terminal, pulse)
                    scenario(terminal, engine)
                finally:
                    print(terminal.screen)
                assert terminal.modes() == before, "the terminal is as it was"
                assert "Traceback" not in terminal.screen

        await asyncio.to_thread(run)


async def test_a_conversation_with_an_open_microphone(pulse):
    def scenario(terminal: Terminal, engine: ScriptedEngine) -> None:
        pulse.say(sound(1.0))
        wait_for(pulse.loudspeaker.is_loud, "no answer")
        assert not terminal.shows("!")

        time.sleep(1.5)  # earlier, it would be the same turn that goes on
        began_s = time.monotonic()
        pulse.say(sound(1.5))
        wait_for(lambda: terminal.shows("interrupted]"), "the answer is not stopped")
        (onset_s, *_) = pulse.microphone.loud_s(began_s)
        wait_for(lambda: terminal.shows("assistant>", 2), "no second answer")
        wait_for(pulse.loudspeaker.is_loud, "no second answer is heard")
        print(f"silent {silence_ms(pulse.loudspeaker.loud_s(onset_s), onset_s):.0f} ms after onset")
        (_, assistant, _) = engine.sessions[0].histories[-1][-3:]
        assert 0 < len(assistant.text) < len(ANSWER), "the history holds what was heard"

        terminal.press(" ")
        wait_for(lambda: terminal.shows("(stopped)"), "no stop")
        silent_after(pulse.loudspeaker, time.monotonic())

        turns = terminal.screen.count("time is it?")
        terminal.press("m")
        wait_for(lambda: terminal.shows("(muted)"), "not muted")
        pulse.say(sound(1.0)).wait()
        wait_for(lambda: not pulse.microphone.is_loud(), "the microphone is not quiet")
        terminal.press("m")
        wait_for(lambda: terminal.shows("(listening again)"), "still muted")
        assert not terminal.shows("time is it?", turns + 1), "nothing was heard while muted"
        pulse.say(sound(1.0))
        wait_for(lambda: terminal.shows("time is it?", turns + 1), "not heard again")
        assert not terminal.shows("!")
        assert terminal.shows("voice-to-voice")

        terminal.press("q")
        assert ended(terminal) == 0
        assert terminal.shows("the call is over")

    await call(scenario, LONG, pulse, "--echo-guard", "on")


async def test_push_to_talk(pulse):
    def scenario(terminal: Terminal, engine: ScriptedEngine) -> None:
        pulse.say(sound(1.0)).wait()  # nobody has pressed the key
        terminal.press(" ")
        wait_for(lambda: terminal.shows("(speak)"), "the key does nothing")
        began_s = time.monotonic()
        pulse.say(sound(1.0)).wait()
        wait_for(lambda: pulse.microphone.loud_s(began_s), "nothing was said")
        terminal.press(" ")
        wait_for(lambda: terminal.shows("(sent)"), "the turn does not end")
        wait_for(pulse.loudspeaker.is_loud, "no answer")
        assert not terminal.shows("assistant>", 2), "only what was said with the key"
        terminal.press(" ")  # to speak again stops the answer
        wait_for(lambda: terminal.shows("(speak)", 2), "the key does nothing")
        silent_after(pulse.loudspeaker, time.monotonic())
        wait_for(lambda: terminal.shows("interrupted]"), "the answer is not stopped")
        pulse.say(sound(1.0)).wait()
        terminal.press(" ")
        wait_for(lambda: terminal.shows("(sent)", 2), "the turn does not end")
        wait_for(lambda: terminal.shows("assistant>", 2), "no second answer")
        assert not terminal.shows("!")
        os.kill(terminal.process.pid, signal.SIGINT)
        assert ended(terminal) == 0

    await call(scenario, LONG, pulse, "--push-to-talk")


async def test_the_sound_system_goes_away(pulse):
    def scenario(terminal: Terminal, engine: ScriptedEngine) -> None:
        pulse.process.terminate()
        assert ended(terminal) == 1
        assert terminal.shows("was it unplugged?")

    await call(scenario, SHORT, pulse)


async def test_the_server_goes_away(pulse):
    async with scripted_server(SHORT) as (url, _):
        run = talking(pulse, "--url", url)
        terminal = run.__enter__()
        await asyncio.to_thread(begin, terminal, pulse)
    try:
        assert await asyncio.to_thread(ended, terminal) == 1
        assert terminal.shows("error: ")
        assert "Traceback" not in terminal.screen
    finally:
        run.__exit__(None, None, None)
