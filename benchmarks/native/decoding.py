"""The decoder by itself: prefill, decode steps with and without graphs, and choosing tokens."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_kernels import Ceilings
from benchmarks.native.bed import Bed
from benchmarks.native.floors import decode_floor_s, prefill_floor_s, weight_bytes
from benchmarks.native.timing import now, spread, times, wait_for
from engine.native.kv_cache import Log
from engine.native.runtime.runner import Runner, StepInput
from engine.native.runtime.sampling import Chooser, Sampling, choose
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Prompt
from engine.ops.dispatch import MATVEC_ROWS

SAMPLINGS = {
    "greedy": Sampling(temperature=0.0),
    "temperature": Sampling(temperature=0.7),
    "penalty": Sampling(temperature=0.7, repetition_penalty=1.1),
    "nucleus": Sampling(temperature=0.7, top_p=0.9),
}
SEEN = 256  # tokens of the answer so far, for the repetition penalty


@dataclass(slots=True)
class Decoded:
    """Of a number of steps: until all was queued, until the tokens were known; and these."""

    host: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)  # by step


def random_ids(bed: Bed, count: int, seed: int = 0) -> list[int]:
    """Ids of words, none of them special."""
    high = bed.config.decoder.vocab - 16
    ids: list[int] = np.random.default_rng(seed).integers(high, size=count).tolist()
    return ids


@contextmanager
def sequences(bed: Bed, rows: int, context: int) -> Iterator[list[Log]]:
    """Logs of ``context`` positions, whose keys and values are what the cache holds."""
    logs: list[Log] = []
    try:
        for _ in range(rows):
            log = bed.pool.open()
            logs.append(log)
            log.extend([0] * context)
        yield logs
    finally:
        for log in logs:
            log.close()


def decode(bed: Bed, runner: Runner, logs: Sequence[Log], ids: list[int], steps: int) -> Decoded:
    """Greedy steps of one token for each log."""
    made = Decoded()
    for _ in range(steps):
        start = now()
        scores = runner.step(
            [StepInput(log, [i], None, True) for log, i in zip(logs, ids, strict=True)]
        )
        made.host.append(now() - start)
        assert scores.scores is not None
        ids = scores.scores.argmax(-1).tolist()
        made.steps.append(now() - start)
        made.tokens.append(ids)
    return made


def decode_rows(
    bed: Bed, runner: Runner, rows: int, context: int, steps: int, limits: Ceilings
) -> dict[str, Any]:
    """Steps of ``rows`` rows; the first ones compile."""
    with sequences(bed, rows, context) as logs:
        made = decode(bed, runner, logs, random_ids(bed, rows), steps + 4)
    step = spread(made.steps[4:])
    floor_ms = 1e3 * decode_floor_s(bed.decoder, rows, context + steps // 2, limits)
    return {
        "rows": rows,
        "context": context,
        "step_ms": step,
        "host_ms": spread(made.host[4:]),
        "tokens_per_s": round(1e3 * rows / step["p50"], 1),
        "floor_ms": round(floor_ms, 3),
        "of_floor": round(floor_ms / step["p50"], 3),
    }


def decoding(
    bed: Bed, limits: Ceilings, *, rows: Sequence[int], context: int, steps: int
) -> dict[str, Any]:
    """Decode steps against the bytes they read, with graphs and kernel by kernel."""
    runners = {"graphs": Runner(bed.decoder, bed.pool, bed.graphs)}
    if bed.device.type == "cuda":
        runners["eager"] = Runner(bed.decoder, bed.pool)
    return {
        "weight_bytes": weight_bytes(bed.decoder),
        **{
            name: [decode_rows(bed, runner, n, context, steps, limits) for n in rows]
            for name, runner in runners.items()
        },
    }


def prefill(
    bed: Bed, limits: Ceilings, *, sizes: Sequence[int], repetitions: int
) -> list[dict[str, Any]]:
    """A prompt's first ``n`` tokens in one step, up to the scores after them."""
    runner, found = Runner(bed.decoder, bed.pool), []
    for size in sizes:
        log, ids = bed.pool.open(), random_ids(bed, size)

        def step(log: Log = log, ids: Sequence[int] = ids) -> None:
            log.truncate(0)
            runner.step([StepInput(log, ids, None, True)])

        try:
            taken = spread(times(step, bed.device, repetitions))
        finally:
            log.close()
        floor_ms = 1e3 * prefill_floor_s(bed.decoder, size, limits)
        found.append(
            {
                "tokens": size,
                "ms": taken,
                "tokens_per_s": round(1e3 * size / taken["p50"], 1),
                "of_floor": round(floor_ms / taken["p50"], 3),
            }
        )
    return found


def mixed(bed: Bed, *, rows: int, context: int, prefill: int, repetitions: int) -> dict[str, Any]:
    """A step of ``rows`` decoding rows beside ``prefill`` tokens of a prompt: the longest that a
    row waits for others."""
    runner, ids = Runner(bed.decoder, bed.pool), random_ids(bed, prefill)
    with sequences(bed, rows + 1, context) as logs:

        def step() -> None:
            for log in logs:
                log.truncate(context)
            feeds = [StepInput(log, [1], None, True) for log in logs[:rows]]
            outcome = runner.step([*feeds, StepInput(logs[rows], ids)])
            assert outcome.scores is not None
            outcome.scores.argmax(-1).tolist()

        taken = spread(times(step, bed.device, repetitions))
    return {"rows": rows, "prefill": prefill, "context": context, "ms": taken}


def choosing(bed: Bed, *, rows: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Tokens from scores, by the options."""
    generator, found = torch.Generator(bed.device).manual_seed(0), []
    for count in rows:
        scores = torch.randn(count, bed.config.decoder.vocab, device=bed.device)
        for name, sampling in SAMPLINGS.items():
            choosers = [Chooser(sampling, random_ids(bed, SEEN, row)) for row in range(count)]

            def run(scores: torch.Tensor = scores, choosers: list[Chooser] = choosers) -> None:
                choose(scores, choosers, generator)

            with torch.inference_mode():
                taken = spread(times(run, bed.device, repetitions))
            found.append({"rows": count, "sampling": name, "ms": taken})
    return found


def through_scheduler(bed: Bed, *, rows: Sequence[int], context: int, tokens: int) -> Any:
    """Tokens as the calls' coroutines get them: what threads, queues and sampling add."""

    async def say(scheduler: Scheduler, log: Log) -> None:
        # The log holds the prompt but for its last id, which gives the first scores.
        prompt = Prompt([0] * context + [1])
        async with scheduler.generate(
            log, prompt, SAMPLINGS["temperature"], stop_ids=frozenset(), limit=tokens
        ) as made:
            async for _ in made:
                pass

    async def run(scheduler: Scheduler, logs: Sequence[Log]) -> float:
        start = now()
        await asyncio.gather(*(say(scheduler, log) for log in logs))
        return now() - start

    found = []
    for count in rows:
        scheduler = Scheduler(Runner(bed.decoder, bed.pool, bed.graphs))
        try:
            with sequences(bed, count, context) as logs:
                seconds = asyncio.run(run(scheduler, logs))
                wait_for(bed.device)
        finally:
            scheduler.close()
        found.append({"rows": count, "tokens_per_s": round(count * tokens / seconds, 1)})
    return found


def quantised(
    bed: Bed, limits: Ceilings, *, rows: Sequence[int], context: int, steps: int
) -> dict[str, Any]:
    """Decode of a bed whose weights were quantised before anything was captured; and prefill of
    few enough rows for the quantised product, and of more."""
    runner = Runner(bed.decoder, bed.pool, bed.graphs)
    return {
        "weight_bytes": weight_bytes(bed.decoder),
        "graphs": [decode_rows(bed, runner, n, context, steps, limits) for n in rows],
        "prefill": prefill(bed, limits, sizes=(MATVEC_ROWS, 8 * MATVEC_ROWS), repetitions=5),
    }
