"""How much code runs from a pause to the first audio, and in a barge-in: it stays readable.

Counted are the functions of this project that are entered at least once, comprehensions among
them, and the files that they stand in; with the scripted engine and voice, and the real judge of
interruptions. A bound that is broken asks a question: is the new layer worth the longer way?
"""

import asyncio
import base64
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np

import duplex
from duplex.audio.formats import encode_pcm16
from duplex.interruption.judge import InterruptionJudge
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import Speech

ROOT = Path(duplex.__file__).parents[1]
MEASURED = tuple(f"{ROOT / folder}/" for folder in ("duplex", "engine", "tts"))
SCRIPTED = str(ROOT / "duplex/testing")
FRAME = 480  # samples of 20 ms at 24 kHz
Functions = set[tuple[str, str]]


class Trace:
    """While it is entered, notes which functions run."""

    def __init__(self) -> None:
        self.functions: Functions = set()

    def __enter__(self) -> "Trace":
        self._before: Callable[..., object] | None = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(MEASURED) and not name.startswith(SCRIPTED):
            self.functions.add((name, frame.f_code.co_qualname))

    @property
    def files(self) -> int:
        return len({name for name, _ in self.functions})


async def traced_call() -> tuple[Trace, Trace]:
    """From the end of the caller's speech to the first audio; from their speech over the reply to
    the end of its response."""
    story = (Speech("It is ten. "), Speech("Time for tea. " * 10))
    caller = Caller(Script(hears=("What time is it?", "Wait, stop please."), says=(story,)))
    caller.parts = replace(caller.parts, open_judge=InterruptionJudge)
    async with caller:
        await caller.speak(1.0)
        with Trace() as answer:
            while not caller.all("response.output_audio.delta"):
                await caller.pause(0.02)
        await caller.pause(0.5)
        with Trace() as barge_in:
            for frame in 0.3 * np.random.default_rng(0).standard_normal((100, FRAME)):
                audio = base64.b64encode(encode_pcm16(frame)).decode()  # no tone, as the reply is
                caller.send("input_audio_buffer.append", audio=audio)
                await asyncio.sleep(0.02)
                if caller.all("response.done"):
                    break
        (done,) = caller.all("response.done")
        assert done["response"]["status"] == "cancelled"
    return answer, barge_in


def test_the_way_from_a_pause_to_the_first_audio_and_of_a_barge_in_stays_short() -> None:
    virtual(traced_call())  # what runs once in a process is not counted
    answer, barge_in = virtual(traced_call())
    assert 100 < len(answer.functions) <= 216, sorted(answer.functions)
    assert answer.files <= 48
    assert 100 < len(barge_in.functions) <= 190, sorted(barge_in.functions)
    assert barge_in.files <= 42
