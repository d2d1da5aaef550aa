"""What hearing costs: chunks, whole turns, and the delay that is left when a turn ends."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.native.bed import CHUNK_S, PACKET_SAMPLES, RATE, Bed, Call, noise
from benchmarks.native.timing import now, spread, times, wait_for
from engine.errors import EngineError
from engine.native.audio_stream import AudioStream
from engine.native.audio_tower import AudioTower
from engine.native.brain import NativeBrain
from engine.types import GenerationOptions

AT_ONCE = GenerationOptions(max_tokens=4, repetition_penalty=1.0)

Sample = tuple[float, float]  # seconds until the turn was heard, until the first token


def chunk_times(
    bed: Bed, tower: AudioTower, calls: int, seconds: float, warm: int = 3
) -> dict[str, Any]:
    """Encoder and adaptor over the next chunk of ``calls`` calls in one step, all through turns
    of ``seconds``: until it is on the device's queue, and until it is done."""
    streams = [tower.open() for _ in range(calls)]
    queued, done = [], []
    try:
        for stream in streams:
            stream.feed(noise(seconds))
        while streams[0].due():
            requests = [stream.step() for stream in streams]
            wait_for(bed.device)
            start = now()
            tower.encode(requests)
            queued.append(now() - start)
            wait_for(bed.device)
            done.append(now() - start)
    finally:
        for stream in streams:
            stream.close()
    return {"host_ms": spread(queued[warm:]), "ms": spread(done[warm:])}


def exact_times(bed: Bed, seconds: float, repetitions: int) -> dict[str, float]:
    """The published way: all of a turn of at most one block in one pass."""
    stream: AudioStream = bed.tower.open()
    try:
        stream.feed(noise(seconds))
        request = stream.exact()
        assert request is not None
        return spread(times(lambda: bed.tower.encode([request]), bed.device, repetitions))
    finally:
        stream.close()


def chunk_difference(bed: Bed, calls: int, seconds: float) -> float:
    """How far the latents of chunks as graphs are from those without, at most, over the size of
    the latter."""
    latents = []
    for tower in (bed.tower, bed.graph_tower):
        streams = [tower.open() for _ in range(calls)]
        found = []
        for seed, stream in enumerate(streams):
            stream.feed(noise(seconds, seed))
        while streams[0].due():
            for result in tower.encode([stream.step() for stream in streams]):
                if isinstance(result, EngineError):
                    raise result
                found.append(result.stable.float())
        for stream in streams:
            stream.close()
        latents.append(torch.cat(found))
    plain, graphed = latents
    return float((plain - graphed).abs().max() / plain.abs().max())


def encoder(
    bed: Bed,
    keep: Callable[[dict[str, Any]], None],
    *,
    calls: Sequence[int],
    chunks_s: float,
    turns_s: Sequence[float],
    repetitions: int,
) -> dict[str, Any]:
    """Chunks of several calls together, without graphs and with them, and exact passes. ``keep``
    is called with the parts so far."""
    found: dict[str, Any] = {"chunk_s": CHUNK_S}
    for way in ("eager", "graphs"):
        tower = bed.graph_tower if way == "graphs" else bed.tower
        found[way] = {str(count): chunk_times(bed, tower, count, chunks_s) for count in calls}
        keep(found)
    found["difference"] = chunk_difference(bed, calls[1], chunks_s)
    keep(found)
    found["exact_ms"] = {f"{s:g}": exact_times(bed, s, repetitions) for s in turns_s}
    return found


async def first_token(bed: Bed, call: Call, last: NDArray[np.float32]) -> Sample:
    """Seconds after the turn's last audio came until it was heard, and until the first token.
    What was asked of the device before is done: in real time it would have been."""
    wait_for(bed.device)
    start = now()
    call.append(last)
    messages = await call.end()
    heard = now() - start
    async with aclosing(call.answer(messages, AT_ONCE)) as pieces:
        await anext(pieces)
        return heard, now() - start


async def incremental(
    bed: Bed, brain: NativeBrain, pcm: NDArray[np.float32], ends: Sequence[int]
) -> list[Sample]:
    """One turn that might end at each of ``ends`` (samples, rising), and goes on: what was done
    for an end is provisional and is taken back, so each is measured as if it were the only one."""
    call, found, at = Call(bed, brain), [], 0
    try:
        await call.begin()
        for end in ends:
            await call.hear(pcm[at : end - PACKET_SAMPLES])
            found.append(await first_token(bed, call, pcm[end - PACKET_SAMPLES : end]))
            at = end
    finally:
        await call.close()
    return found


async def batch(
    bed: Bed, brain: NativeBrain, pcm: NDArray[np.float32], ends: Sequence[int]
) -> list[Sample]:
    """A turn for each of ``ends``, of which nothing is encoded before it ends; the log-mel is
    there and the prompt before the turn is in the log."""
    found = []
    for end in ends:
        call = Call(bed, brain, batch=True)
        try:
            await call.begin()
            call.append(pcm[: end - PACKET_SAMPLES])
            found.append(await first_token(bed, call, pcm[end - PACKET_SAMPLES : end]))
        finally:
            await call.close()
    return found


def curve(bed: Bed, *, turns_s: Sequence[float], repetitions: int) -> dict[str, Any]:
    """The delay that the model adds after the end of a turn, by the turn's length.

    Lengths differ by up to a chunk between repetitions, evenly, because what is left to do depends
    on how much of a chunk the end of the turn leaves. The ways take turns.
    """
    pcm = noise(max(turns_s) + CHUNK_S)
    ways = {"incremental": incremental, "batch": batch}
    samples: dict[str, list[list[Sample]]] = {name: [] for name in ways}

    async def run() -> None:
        with bed.brain() as brain:
            for way in ways.values():  # compiles what these shapes need
                await way(bed, brain, pcm, [int(s * RATE) for s in turns_s])
            for index in range(repetitions):
                later = CHUNK_S * index / repetitions
                ends = [int((s + later) * RATE) for s in turns_s]
                for name, way in ways.items():
                    samples[name].append(await way(bed, brain, pcm, ends))

    asyncio.run(run())
    result: dict[str, Any] = {"repetitions": repetitions, "turns_s": list(turns_s)}
    for name, sweeps in samples.items():
        columns = list(zip(*sweeps, strict=True))
        result[name] = {
            "heard_ms": [spread([heard for heard, _ in column]) for column in columns],
            "first_token_ms": [spread([first for _, first in column]) for column in columns],
        }
        medians = [entry["p50"] for entry in result[name]["first_token_ms"]]
        result[name]["longest_to_shortest"] = round(medians[-1] / medians[0], 3)
    return result
