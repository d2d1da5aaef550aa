"""Four good calls while a fifth client does each hostile thing in turn, and nothing, in between.

    python -m benchmarks.server.fault_isolation [--real] [--turns N] [--out FILE]

Voice-to-voice times at the clients, and what the server process holds before and after. Models
are scripted unless ``--real``: then four calls alone load a small machine, and the figures vary
with more than the attack.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.server.hostile import ATTACKS
from benchmarks.server.resources import resources
from client.bench.machine import source_commit, this_machine
from client.bench.questions import load_questions, record
from client.bench.server_process import RunningServer, serving
from client.caller.caller import CallOptions, Utterance, hold_call
from client.realtime import SessionOptions, connect
from client.sound.speech import Recording
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config
from duplex.metrics import percentile

CALLS = 4
GOOD_KEY, HOSTILE_KEY = "good-caller-good-caller", "hostile-caller-hostile"
STAGGER_S = 0.7  # callers do not speak in step
SETTLE_S = 2.0  # for the server to let go, before it is looked at
OUT = Path(__file__).parents[1] / "results" / "fault_isolation.json"
LIMITS = [f"server.max_calls={CALLS + 4}", "limits.refuse_lag_ms=0", "server.stall_s=3.0"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="real models")
    parser.add_argument("--turns", type=int, default=3, help="of each call under each attack")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="some of the attacks")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    speak = speaker(Config())
    shortest = sorted(load_questions().ordinary, key=lambda question: len(question.text))
    recordings = [record(question, speak) for question in shortest[: options.turns]]
    attacks = options.attacks.split(",")
    result = asyncio.run(_measure(recordings, attacks, real=options.real))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out}")


async def _measure(
    recordings: Sequence[Recording], attacks: Sequence[str], *, real: bool
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        limits = [*LIMITS, f"access.keys_file={_write_keys(folder)}"]
        server = await stack.enter_async_context(serving(_command(limits, real=real)))
        await _round(server, recordings[:1], None)  # the first turns of a process are slower
        for number, attack in enumerate(attacks):
            if number % 3 == 0:
                rows.append(await _round(server, recordings, None))
            rows.append(await _round(server, recordings, attack))
        rows.append(await _round(server, recordings, None))
    calm = sorted(value for row in rows if row["attack"] is None for value in row["v2v_ms"])
    for row in rows:
        row["p95_against_calm"] = round(row["p95_ms"] / percentile(calm, 0.95), 3)
    return {
        "machine": asdict(this_machine()),
        "commit": source_commit(),
        "models": "real" if real else "scripted; the detector of speech is real",
        "calls": CALLS,
        "calm_p50_ms": percentile(calm, 0.5),
        "calm_p95_ms": percentile(calm, 0.95),
        "rows": rows,
    }


def _write_keys(folder: Path) -> Path:
    """The good callers have a key, and the hostile one its own."""
    tables = [
        f'[{name}]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\nmetrics = true\n'
        for name, key in (("good", GOOD_KEY), ("hostile", HOSTILE_KEY))
    ]
    path = folder / "keys.toml"
    path.write_text("".join(tables))
    return path


def _command(limits: Sequence[str], *, real: bool) -> list[str]:
    if not real:
        return [sys.executable, "-m", "benchmarks.server.scripted", *limits]
    return server_command([word for limit in limits for word in ("--set", limit)])


async def _round(
    server: RunningServer, recordings: Sequence[Recording], attack: str | None
) -> dict[str, Any]:
    """Four calls, and one attack beside them from beginning to end."""
    before = await resources(server.pid, server.url, GOOD_KEY)
    hostile = None
    if attack is not None:
        hostile = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.server.hostile", attack, server.url, "120"),
            stdout=asyncio.subprocess.DEVNULL,
            env=os.environ | {"DUPLEX_API_KEY": HOSTILE_KEY},
        )
        await asyncio.sleep(2)  # until it has begun
    try:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(_call(server.url, recordings, n)) for n in range(CALLS)]
            await asyncio.sleep(2)
            during = await resources(server.pid, server.url, GOOD_KEY)
    finally:
        if hostile is not None:
            hostile.kill()
            await hostile.wait()
    await asyncio.sleep(SETTLE_S)
    after = await resources(server.pid, server.url, GOOD_KEY)
    times = [time_ms for call in calls for time_ms in call.result() if time_ms is not None]
    missing = CALLS * len(recordings) - len(times)
    row = {
        "attack": attack,
        "turns": len(times),
        "turns_without_answer": missing,
        "p50_ms": percentile(times, 0.5),
        "p95_ms": percentile(times, 0.95),
        "v2v_ms": times,
        "before": asdict(before),
        "during": asdict(during),
        "after": asdict(after),
    }
    print(
        f"{attack or 'nothing':28} {len(times):3} turns, {missing} without answer, "
        f"p50 {row['p50_ms']:.0f} p95 {row['p95_ms']:.0f} ms; RSS {before.rss_mib:.0f} -> "
        f"{during.rss_mib:.0f} -> {after.rss_mib:.0f} MiB, fds {before.fds} -> {after.fds}, "
        f"threads {before.threads} -> {after.threads}, tasks {before.tasks} -> {after.tasks}",
        flush=True,
    )
    return row


async def _call(url: str, recordings: Sequence[Recording], number: int) -> list[float | None]:
    await asyncio.sleep(number * STAGGER_S)
    client = await connect(url, key=GOOD_KEY)
    options = CallOptions(SessionOptions(duplex=True), seed=number, answer_timeout_s=10)
    result = await hold_call(client, [Utterance(recording) for recording in recordings], options)
    return [turn.v2v_ms for turn in result.turns]


if __name__ == "__main__":
    main()
