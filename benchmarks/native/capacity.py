"""How many calls a device holds: calls in real time, until audio or speech falls behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from benchmarks.native.bed import CHUNK_S, RATE, Bed, Call, noise
from benchmarks.native.timing import now, spread
from engine.native.brain import NativeBrain
from engine.types import Finished, GenerationOptions

LATE_TOKENS = 0.01  # the share that may be, in a count of calls that holds


@dataclass(frozen=True, slots=True)
class Voice:
    """How fast speech uses up tokens, and how many it needs before it begins."""

    tokens_per_s: float
    first_tokens: int


@dataclass(frozen=True, slots=True)
class Course:
    """What each call does over and over: the caller speaks, and the answer plays. ``tempo``: so
    many times faster than real time."""

    spoken_s: float = 2.4
    played_s: float = 2.4
    window_s: float = 6.0
    tempo: float = 1.0


@dataclass(slots=True)
class Found:
    """All calls' seconds: how late chunks were done, the first token of answers, gaps between
    tokens, and how late each token was for its place in the speech (negative: early)."""

    lags: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def add_answer(self, arrivals: Sequence[float], voice: Voice, tempo: float) -> None:
        """Speech begins when its first tokens are there, and each later one has its time."""
        self.gaps += [later - earlier for earlier, later in pairwise(arrivals)]
        if len(arrivals) >= voice.first_tokens:
            begin = arrivals[voice.first_tokens - 1]
            pace = 1 / (voice.tokens_per_s * tempo)
            for index, arrival in enumerate(arrivals[voice.first_tokens :], 1):
                self.late.append(arrival - begin - index * pace)


async def converse(
    bed: Bed, brain: NativeBrain, voice: Voice, course: Course, phase: float, found: Found
) -> None:
    """One call, for ever; ``phase`` of its first turn was spoken before it began."""
    chunk_s = CHUNK_S / course.tempo
    chunks = round(course.spoken_s / CHUNK_S)
    pcm = noise(course.spoken_s)
    size = int(CHUNK_S * RATE)
    tokens = int(course.played_s * voice.tokens_per_s) + voice.first_tokens
    options = GenerationOptions(max_tokens=tokens, temperature=0.7, repetition_penalty=1.0)
    done = int(phase * chunks)
    while True:
        call = Call(bed, brain)
        try:
            await call.begin()
            begin = now() - done * chunk_s
            for index in range(chunks):
                due = begin + (index + 1) * chunk_s
                await asyncio.sleep(max(0.0, due - now()))
                call.append(pcm[index * size : (index + 1) * size])
                await call.keep_up()
                if index >= done:
                    found.lags.append(now() - due)
            start = now()
            messages = await call.end()
            arrivals = [
                now()
                async for piece in call.answer(messages, options)
                if not isinstance(piece, Finished)
            ]
            found.first.append(arrivals[0] - start)
            found.add_answer(arrivals, voice, course.tempo)
            ends = arrivals[0] + course.played_s / course.tempo
            await asyncio.sleep(max(0.0, ends - now()))
        finally:
            await call.close()
        done = 0


async def hold(bed: Bed, voice: Voice, course: Course, calls: int) -> Found:
    """``calls`` calls at the same time, evenly out of step."""
    found = Found()
    with bed.brain() as brain:
        tasks = [
            asyncio.create_task(converse(bed, brain, voice, course, i / calls, found))
            for i in range(calls)
        ]
        ended, running = await asyncio.wait(
            tasks, timeout=course.window_s / course.tempo, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in ended:
            task.result()  # none ends but by failing
    return found


def capacity(
    bed: Bed, *, voices: dict[str, Voice], calls: Sequence[int], course: Course
) -> dict[str, Any]:
    """More and more calls until a count does not hold: a chunk that takes longer than it lasts
    (95th percentile), or tokens that come after their place in the speech."""
    result: dict[str, Any] = {"spoken_s": course.spoken_s, "played_s": course.played_s}
    some = calls[len(calls) // 2]
    asyncio.run(hold(bed, next(iter(voices.values())), course, some))  # compiles
    for name, voice in voices.items():
        counts: list[dict[str, Any]] = []
        for count in calls:
            found = asyncio.run(hold(bed, voice, course, count))
            late = sum(seconds > 0 for seconds in found.late) / max(1, len(found.late))
            lags = spread(found.lags)
            holds = lags["p95"] <= 1e3 * CHUNK_S / course.tempo and late <= LATE_TOKENS
            counts.append(
                {
                    "calls": count,
                    "holds": holds and bool(found.first),
                    "chunk_lag_ms": lags,
                    "first_token_ms": spread(found.first) if found.first else None,
                    "token_gap_ms": spread(found.gaps) if found.gaps else None,
                    "late_tokens": round(late, 4),
                }
            )
            if not counts[-1]["holds"]:
                break
        held = [entry["calls"] for entry in counts if entry["holds"]]
        result[name] = {
            "tokens_per_s": voice.tokens_per_s,
            "most_calls": max(held, default=0),
            "counts": counts,
        }
    return result
