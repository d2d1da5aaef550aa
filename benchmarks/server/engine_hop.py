"""What the way between an edge and its engine adds, over loopback.

    python -m benchmarks.server.engine_hop [--rounds N] [--json FILE]

The same scripted engine, which takes no time, in this process and in another, asked in turn: so
both see the same load of the machine.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.server.scripted import ForgetfulEngine
from benchmarks.server.scripted_engine import AT_ONCE
from client.bench.machine import source_commit, this_machine
from client.bench.server_process import serving
from duplex.app.remote_voice import RemoteVoice
from duplex.dialogue.interfaces import Engine, EngineSession
from duplex.metrics import percentile
from duplex.testing.voice import ScriptedVoice
from engine.remote_engine.engine import RemoteEngine
from engine.types import GenerationOptions, Message
from tts.types import Voice

OUT = Path(__file__).parents[1] / "results" / "engine_hop.json"
FRAME = np.zeros(512, np.float32)
TURN_FRAMES = 94  # three seconds
_DRAIN_S = 0.02
PLACE = "a place is kept for a call"
ANSWER = "an answer's first segment to its sound, its socket opened"
SEGMENT = "the next segment to its sound"
KILLED = "end of turn to its words, its engine killed at the end of the turn"
HISTORY = [Message("system", "You are a helpful voice assistant. " * 8)] + [
    Message(role, "I would like to know when the shops open on a Sunday in winter. " * 2)
    for role in ("user", "assistant", "user") * 7
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    result = asyncio.run(_measure(options.rounds))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["rows"]:
        print(row)


async def _measure(rounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.server.scripted_engine", "--at-once"]
    async with serving([*command, "server.max_calls=8"]) as server:
        remote = RemoteEngine([server.url])
        async with remote.in_touch():
            await remote.reserve()
            engines: dict[str, Engine] = {"here": ForgetfulEngine(AT_ONCE), "elsewhere": remote}
            sessions = {name: engine.open() for name, engine in engines.items()}
            times: dict[tuple[str, str], list[float]] = {}
            for number in range(rounds + 10):
                for name, session in sessions.items():
                    for what, took_s in (await _round(session)).items():
                        if number >= 10:  # the first are slower
                            times.setdefault((what, name), []).append(took_s * 1000)
            about = await asyncio.to_thread(remote.meet)
            voices: dict[str, Voice] = {
                "here": ScriptedVoice(),
                "elsewhere": RemoteVoice(remote, about.voices[0]),
            }
            for _ in range(min(rounds, 100)):
                times.setdefault((PLACE, "elsewhere"), []).append(await _opened(remote) * 1000)
                for name, voice in voices.items():
                    first_s, next_s = await asyncio.to_thread(_spoken, voice)
                    times.setdefault((ANSWER, name), []).append(first_s * 1000)
                    times.setdefault((SEGMENT, name), []).append(next_s * 1000)
            for session in sessions.values():
                await session.close()
    times[KILLED, "elsewhere"] = [took_s * 1000 for took_s in await _taken_over(min(rounds, 10))]
    return {
        "machine": asdict(this_machine()),
        "commit": source_commit(),
        "load": os.getloadavg()[0],
        "what": "ms over loopback, between two processes, beside the same engine in one",
        "rows": [
            {
                "what": what,
                "engine": name,
                "n": len(values),
                "p50_ms": round(percentile(values, 0.5), 3),
                "p95_ms": round(percentile(values, 0.95), 3),
            }
            for (what, name), values in sorted(times.items())
        ],
    }


async def _round(session: EngineSession) -> dict[str, float]:
    """A turn of three seconds, its words, its answer; and an answer that is given up."""
    clock = time.perf_counter
    session.begin_turn()
    for _ in range(TURN_FRAMES):
        session.append_audio(FRAME)
        await asyncio.sleep(0)
    await asyncio.sleep(_DRAIN_S)  # in a call it has gone while the caller spoke
    begun = clock()
    await session.end_turn()
    took = {"end of turn to its words": clock() - begun}
    begun = clock()
    async with aclosing(session.respond(HISTORY, GenerationOptions())) as pieces:
        await anext(pieces)
        took["answer asked to its first piece"] = clock() - begun
        async for _ in pieces:
            pass
    async with aclosing(session.respond(HISTORY, GenerationOptions())) as pieces:
        await anext(pieces)
        begun = clock()
    took["an answer is closed"] = clock() - begun
    return took


def _spoken(voice: Voice) -> tuple[float, float]:
    """From a segment to its first sound: an answer's first, and its next."""
    utterance, took = voice.open(), []
    for text in ("It is half past ten, ", "and the shops are open. "):
        begun = time.perf_counter()
        chunks = utterance.feed(text)
        next(chunk for chunk in chunks if len(chunk.samples))
        took.append(time.perf_counter() - begun)
        for _ in chunks:
            pass
    for _ in utterance.finish():
        pass
    return took[0], took[1]


async def _taken_over(rounds: int) -> list[float]:
    """From the end of a turn to its words, whose engine was killed just before."""
    took = []
    async with AsyncExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.server.scripted_engine", "--at-once"]
        engines = [await stack.enter_async_context(serving(command)) for _ in range(2)]
        for _ in range(rounds):
            session = RemoteEngine([engine.url for engine in engines]).open()
            session.begin_turn()
            for _ in range(TURN_FRAMES):
                session.append_audio(FRAME)
            await session.end_turn()
            os.kill(engines[0].pid, signal.SIGKILL)
            begun = time.perf_counter()
            await session.end_turn()
            took.append(time.perf_counter() - begun)
            await session.close()
            engines = [engines[1], await stack.enter_async_context(serving(command))]
    return took


async def _opened(engine: RemoteEngine) -> float:
    begun = time.perf_counter()
    await engine.reserve()
    took_s = time.perf_counter() - begun
    session = engine.open()
    await session.close()
    return took_s


if __name__ == "__main__":
    main()
