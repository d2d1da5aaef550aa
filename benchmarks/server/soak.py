"""Many short calls through one server: does it keep anything of them?

    python -m benchmarks.server.soak [--calls 600] [--real] [--out FILE]

A tenth of them vanish without a word, a tenth take up their call again, the others hang up.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from benchmarks.server.resources import Resources, resources
from client.bench.machine import source_commit, this_machine
from client.bench.questions import load_questions, record
from client.bench.server_process import serving
from duplex.audio.formats import encode_pcm16
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config

OUT = Path(__file__).parents[1] / "results" / "soak.json"
AT_A_TIME = 8
LIMITS = [f"server.max_calls={AT_A_TIME * 4}", "limits.refuse_lag_ms=0", "server.resume_s=1.0"]
WARM_CALLS = 50  # allocators and caches fill with the first calls


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--real", action="store_true", help="real models")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    result = asyncio.run(_soak(options.calls, _speech(), real=options.real))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out}")


def _speech() -> str:
    """A short question and the silence after it, as one append."""
    shortest = min(load_questions().ordinary, key=lambda question: len(question.text))
    samples = record(shortest, speaker(Config())).samples
    pcm = encode_pcm16(samples) + bytes(2 * 24_000)
    return json.dumps(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
    )


async def _soak(count: int, speech: str, *, real: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.server.scripted", *LIMITS]
    if real:
        command = server_command([word for limit in LIMITS for word in ("--set", limit)])
    seen: list[dict[str, Any]] = []
    async with serving(command) as server:

        async def look(calls: int) -> Resources:
            await asyncio.sleep(2)  # dropped calls wait for a second
            now = await resources(server.pid, server.url)
            seen.append({"calls": calls, **asdict(now)})
            print(f"{calls:5} calls: {now}", flush=True)
            return now

        await _calls(server.url, speech, range(WARM_CALLS))
        first = await look(WARM_CALLS)
        began_s = time.monotonic()
        step = max(1, count // 4)
        for start in range(0, count, step):
            await _calls(server.url, speech, range(start, min(count, start + step)))
            last = await look(WARM_CALLS + min(count, start + step))
        lasted_s = time.monotonic() - began_s
    return {
        "machine": asdict(this_machine()),
        "commit": source_commit(),
        "models": "real" if real else "scripted; the detector of speech is real",
        "calls": count,
        "seconds": round(lasted_s, 1),
        "grown": {
            "rss_mib": round(last.rss_mib - first.rss_mib, 1),
            "fds": last.fds - first.fds,
            "threads": last.threads - first.threads,
            "tasks": last.tasks - first.tasks,
        },
        "seen": seen,
    }


async def _calls(url: str, speech: str, numbers: Sequence[int]) -> None:
    waiting = iter(numbers)

    async def caller() -> None:
        for number in waiting:
            await _call(url, speech, number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_A_TIME):
            tasks.create_task(caller())


async def _call(url: str, speech: str, number: int) -> None:
    """One spoken turn, and one of three ways to leave."""
    connection = await open_websocket(url, compression=None, proxy=None)
    await connection.send('{"type":"session.update","session":{"duplex":{"resume":true}}}')
    offer = await _until(connection, "duplex.resume")
    await connection.send(speech)
    delta = await _until(connection, "response.output_audio.delta")
    if number % 10 == 0:
        connection.transport.abort()
        return
    if number % 10 == 1:
        connection.transport.abort()
        back = f"{url}?resume={offer['token']}&after={delta['event_id']}"
        connection = await open_websocket(back, compression=None, proxy=None)
    await _until(connection, "response.done")
    await connection.close()


async def _until(connection: ClientConnection, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await connection.recv())
            if event["type"] == kind:
                return event


if __name__ == "__main__":
    main()
