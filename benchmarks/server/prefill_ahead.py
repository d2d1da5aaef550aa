"""How long the first token of a remote brain takes after the end of a turn, by the turn's length,
with what is known sent ahead and without.

    python -m benchmarks.server.prefill_ahead --base-url http://127.0.0.1:8000/v1 --model qwen

The ear is scripted (2.5 words a second), so that what is measured is the brain's side. The caller
speaks in real time. Each trial has instructions of its own, so that nothing of it is cached before.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.brain.chat_shape import ChatShape
from engine.brain.openai_compatible import OpenAIBrain
from engine.remote_brain import RemoteBrainEngine, RemoteBrainSession
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


async def _turn(session: RemoteBrainSession, history: list[Message], seconds: float) -> Message:
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


async def _answer(
    session: RemoteBrainSession, history: list[Message]
) -> tuple[float, str, Finished]:
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


async def _trial(options: argparse.Namespace, seconds: float, name: str, *, ahead: bool) -> Trial:
    brain = OpenAIBrain(
        options.base_url, options.model, shape=ChatShape(temperature=0.0), prefill_ahead=ahead
    )
    engine = RemoteBrainEngine(_ScriptedEar(), brain, hears=False)
    session = engine.open()
    try:
        history = [Message("system", f"Call {name}. {_INSTRUCTIONS}")]
        history.append(await _turn(session, history, seconds))
        first_ms, answer, counts = await _answer(session, history)
        _, again, _ = await _answer(session, history)
        return Trial(
            seconds,
            ahead,
            round(first_ms, 1),
            counts.input_tokens,
            counts.cached_tokens,
            answer,
            again == answer,
        )
    finally:
        await session.close()
        engine.close()


async def _measure(options: argparse.Namespace) -> list[Trial]:
    await _trial(options, 1.0, f"warm-up {time.time()}", ahead=False)
    trials = []
    for n in range(options.trials):
        for seconds in options.turns:
            for ahead in (False, True):
                name = f"{time.time():.3f}-{n}-{seconds:g}-{ahead}"
                trials.append(await _trial(options, seconds, name, ahead=ahead))
                print(trials[-1])
    return trials


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--turns", type=float, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--what", default="", help="the endpoint, for the result")
    parser.add_argument("--out", type=Path, default=Path("out/prefill-ahead.json"))
    options = parser.parse_args()
    trials = asyncio.run(_measure(options))
    summary = [
        {
            "turn_s": seconds,
            "ahead": ahead,
            "trials": len(chosen),
            "first_token_ms_median": statistics.median(t.first_token_ms for t in chosen),
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
        "machine": platform.processor() or platform.machine(),
        "summary": summary,
        "trials": [asdict(trial) for trial in trials],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
