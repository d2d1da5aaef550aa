"""How long the first token of a brain takes after the end of a turn, by the turn's length: with
what is known sent ahead and without, of a brain on vLLM or of one behind an endpoint.

    python -m benchmarks.server.prefill_ahead --base-url http://127.0.0.1:8000/v1 --model qwen
    python -m benchmarks.server.prefill_ahead --vllm '{enforce_eager = true}' --model DIRECTORY

The ear is scripted (2.5 words a second), so that what is measured is the brain's side. The caller
speaks in real time, and the two ways take turns. Each trial has instructions of its own, so that
nothing of it is cached before; the answer is then asked for anew, all in one request.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
import tomllib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duplex.dialogue.interfaces import Engine, EngineSession
from engine.brain.chat_shape import ChatShape
from engine.brain.openai_compatible import OpenAIBrain
from engine.embedded import EmbeddedEngine
from engine.remote_brain import RemoteBrainEngine
from engine.types import Finished, GenerationOptions, Message, Speech

RATE, FRAME = 16_000, 512
_WORDS = [
    *("so", "I", "was", "thinking", "that", "we", "could", "go", "to", "the", "market", "on"),
    *("Saturday", "because", "the", "weather", "will", "be", "fine", "and", "my", "sister"),
    *("wants", "to", "buy", "apples", "and", "maybe", "some", "bread", "for", "the", "party"),
]
_INSTRUCTIONS = (
    "You are the voice assistant of a shop. It opens at nine and closes at five. Reply in one "
    "short sentence. "
    + "Be polite, never promise what the shop does not have, and name no prices. "
    * 12
)


class _ScriptedEar:
    """Hears 2.5 words a second, the same each time."""

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        count = int(len(pcm) / RATE * 2.5)
        return " ".join(_WORDS[n % len(_WORDS)] for n in range(count))


@dataclass(frozen=True, slots=True)
class Trial:
    """One turn: when its first token came after its end, and the answer."""

    turn_s: float
    ahead: bool
    first_token_ms: float
    prompt_tokens: int
    cached_tokens: int  # of these, when the turn ended; 0 if the endpoint does not say
    answer: str
    same_again: bool  # whether the answer is the same, all asked anew in one request
    load: float  # of the machine, over a minute


@dataclass(frozen=True, slots=True)
class Ways:
    """The engines of the two ways. ``forget`` empties the cache, if it is ours."""

    at_end: Engine
    ahead: Engine
    forget: Callable[[], Awaitable[object]]

    @classmethod
    def remote(cls, base_url: str, model: str) -> "Ways":
        """Of a brain behind an endpoint."""

        def engine(*, ahead: bool) -> Engine:
            shape = ChatShape(temperature=0.0)
            brain = OpenAIBrain(base_url, model, shape=shape, prefill_ahead=ahead)
            return RemoteBrainEngine(_ScriptedEar(), brain, hears=False)

        return cls(engine(ahead=False), engine(ahead=True), lambda: asyncio.sleep(0))

    @classmethod
    def vllm(cls, model: Path, options: str) -> "Ways":
        """Of one vLLM in this process, with ``options`` as in ``[brain.vllm]``."""
        from engine.native.minds import Pace
        from engine.vllm.async_llm import AsyncLLMClient
        from engine.vllm.brain import load_brain

        table = tomllib.loads(f"options = {options}")["options"]
        brain = load_brain(model, table, context_tokens=4096, pace=Pace())
        client = brain.scheduler.client
        assert isinstance(client, AsyncLLMClient)
        ear = _ScriptedEar()
        at_end = EmbeddedEngine(ear, brain, incremental=False)
        return cls(at_end, EmbeddedEngine(ear, brain), client.forget)


async def _turn(session: EngineSession, history: list[Message], seconds: float) -> Message:
    """Speak in real time; returns the turn's message."""

    async def listen() -> None:
        async with aclosing(session.listen(history)) as transcripts:
            async for _ in transcripts:
                pass

    session.begin_turn()
    listening = asyncio.create_task(listen())
    began_s = time.monotonic()
    for n in range(round(seconds * RATE / FRAME)):
        session.append_audio(np.zeros(FRAME, np.float32))
        await asyncio.sleep(max(0.0, began_s + (n + 1) * FRAME / RATE - time.monotonic()))
    listening.cancel()
    await asyncio.wait({listening})
    heard = await session.end_turn()
    return Message("user", heard.text, heard.sound)


async def _answer(session: EngineSession, history: list[Message]) -> tuple[float, str, Finished]:
    """When its first piece came, in ms; its words, and its counts."""
    began_s = time.monotonic()
    first_s, text, counts = 0.0, "", Finished("stop", 0, 0, 0)
    async with aclosing(session.respond(history, GenerationOptions(max_tokens=12))) as pieces:
        async for piece in pieces:
            first_s = first_s or time.monotonic() - began_s
            if isinstance(piece, Speech):
                text += piece.text
            elif isinstance(piece, Finished):
                counts = piece
    return first_s * 1000, text, counts


async def _trial(ways: Ways, seconds: float, name: str, *, ahead: bool) -> Trial:
    engine = ways.ahead if ahead else ways.at_end
    session, other = engine.open(), ways.at_end.open()
    try:
        history = [Message("system", f"Call {name}. {_INSTRUCTIONS}")]
        history.append(await _turn(session, history, seconds))
        first_ms, answer, counts = await _answer(session, history)
        await session.close()
        await ways.forget()
        _, again, _ = await _answer(other, history)
        return Trial(
            seconds,
            ahead,
            round(first_ms, 1),
            counts.input_tokens,
            counts.cached_tokens,
            answer,
            again == answer,
            round(os.getloadavg()[0], 1),
        )
    finally:
        await session.close()
        await other.close()


def _write(options: argparse.Namespace, trials: list[Trial]) -> None:
    """Write what was measured so far."""
    summary = [
        {
            "turn_s": seconds,
            "ahead": ahead,
            "trials": len(chosen),
            "first_token_ms_median": statistics.median(t.first_token_ms for t in chosen),
            "first_token_ms": [t.first_token_ms for t in chosen],
            "prompt_tokens": chosen[0].prompt_tokens,
            "tokens_left_to_read": [t.prompt_tokens - t.cached_tokens for t in chosen],
            "same_answer_again": sum(t.same_again for t in chosen),
        }
        for seconds in options.turns
        for ahead in (False, True)
        if (chosen := [t for t in trials if (t.turn_s, t.ahead) == (seconds, ahead)])
    ]
    result = {
        "endpoint": options.what,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load": [min(t.load for t in trials), max(t.load for t in trials)],
        "summary": summary,
        "trials": [asdict(trial) for trial in trials],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


async def _measure(ways: Ways, options: argparse.Namespace) -> None:
    await _trial(ways, 1.0, f"warm-up {time.time()}", ahead=False)
    trials = []
    for n in range(options.trials):
        for seconds in options.turns:
            for ahead in (False, True):
                name = f"{time.time():.3f}-{n}-{seconds:g}-{ahead}"
                trials.append(await _trial(ways, seconds, name, ahead=ahead))
                print(trials[-1], flush=True)
        _write(options, trials)


async def _run(options: argparse.Namespace) -> None:
    if options.vllm is None:
        ways = Ways.remote(options.base_url, options.model)
    else:
        ways = Ways.vllm(Path(options.model), options.vllm)
    try:
        await _measure(ways, options)
    finally:
        ways.at_end.close()
        ways.ahead.close()


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--base-url", help="of an endpoint")
    where.add_argument("--vllm", help="its options, as TOML writes them: a vLLM of this process")
    parser.add_argument("--model", required=True, help="its name, or for vLLM its directory")
    parser.add_argument("--turns", type=float, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--what", default="", help="the endpoint, for the result")
    parser.add_argument("--out", type=Path, default=Path("out/prefill-ahead.json"))
    options = parser.parse_args()
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
