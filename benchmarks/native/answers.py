"""The first packet: from the end of a turn to the first clause that a voice could begin with."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from benchmarks.native.bed import PACKET_SAMPLES, Bed, Call, noise
from benchmarks.native.timing import now, spread, wait_for
from engine.native.brain import NativeBrain
from engine.types import Finished, GenerationOptions, Thinking, Thought

CLAUSE_TOKENS = 8  # "Yes, that is a good idea," and the like


@dataclass(frozen=True, slots=True)
class Way:
    """A way to think; ``segment`` thoughts before the first word of think_first."""

    thinking: Thinking
    thoughts: int
    segment: int
    repetitions: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds after the end of the turn, and thoughts that came before the first word."""

    first_token: float
    first_clause: float
    thoughts: int


async def one(bed: Bed, brain: NativeBrain, way: Way, turn_s: float) -> Answer:
    """A turn, heard while it was spoken, and the beginning of its answer."""
    options = GenerationOptions(
        max_tokens=4 * CLAUSE_TOKENS,
        think_tokens=way.thoughts,
        temperature=0.7,
        repetition_penalty=1.0,
        thinking=way.thinking,
    )
    call, pcm = Call(bed, brain), noise(turn_s)
    try:
        await call.begin()
        await call.hear(pcm[:-PACKET_SAMPLES])
        wait_for(bed.device)  # what is due is done, as it would be in real time
        start = now()
        call.append(pcm[-PACKET_SAMPLES:])
        messages = await call.end()
        thoughts, words = 0, list[float]()
        async with aclosing(call.answer(messages, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Thought):
                    thoughts += not words
                elif not isinstance(piece, Finished):
                    words.append(now() - start)
                if len(words) == CLAUSE_TOKENS:
                    break
        if len(words) < CLAUSE_TOKENS:
            raise RuntimeError(f"the answer ended after {len(words)} words")
        return Answer(words[0], words[-1], thoughts)
    finally:
        await call.close()


def first_packet(bed: Bed, *, ways: Sequence[Way], turn_s: float) -> dict[str, Any]:
    """Each way to think, one after the other."""

    async def run(way: Way) -> list[Answer]:
        with bed.brain(thoughts_between=way.segment) as brain:
            short = Way(way.thinking, min(2, way.thoughts), way.segment, 1)
            await one(bed, brain, short, turn_s)  # warms up
            return [await one(bed, brain, way, turn_s) for _ in range(way.repetitions)]

    found: dict[str, Any] = {"turn_s": turn_s, "clause_tokens": CLAUSE_TOKENS}
    for way in ways:
        answers = asyncio.run(run(way))
        name = way.thinking if way.thoughts else "none"
        found[name] = {
            "first_token_ms": spread([answer.first_token for answer in answers]),
            "first_clause_ms": spread([answer.first_clause for answer in answers]),
            "thoughts_before": sorted({answer.thoughts for answer in answers}),
        }
    return found
