"""How many calls does one edge hold, with ear and brain in another process? Where does it break?

    python -m benchmarks.server.edge_calls [--calls 10,20,40,80,160] [--json FILE]

The edge is a whole server with the real detector of speech; its models are scripted and take their
time without using any. Callers speak in real time from one process of their own, in turns that do
not fall together. Seconds of CPU for each second of a call come from the kernel and do not depend
on what else the machine does; what is late does.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from client.bench.machine import source_commit, this_machine
from client.bench.questions import load_questions, record
from client.bench.server_process import resident_mib, serving
from duplex.audio.formats import encode_pcm16
from duplex.cli.recordings import speaker
from duplex.config import Config
from duplex.metrics import percentile

OUT = Path(__file__).parents[1] / "results" / "edge_calls.json"
CHUNK_S = 0.04  # of a microphone
CHUNK_BYTES = round(CHUNK_S * 24_000) * 2
CYCLE_S = 8.0  # a question, its answer of three seconds, and a pause
SETTLE_S, WINDOW_S = 6.0, 16.0
LATE_S = 0.04  # audio that comes later than this after it should sound is heard as a gap
_LAG = re.compile(r"^duplex_event_loop_lag_p95_seconds (\S+)$", re.MULTILINE)
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Seen:
    """What the callers of one step noticed."""

    first_audio_s: list[float] = field(default_factory=list)  # after the question's end
    late_s: list[float] = field(default_factory=list)  # the worst of each answer
    client_late_s: list[float] = field(default_factory=list)  # of chunks that were sent late
    refused: int = 0
    lost: str = ""  # how the call ended, if it did


class Caller:
    """One call: asks the same question in every cycle."""

    def __init__(self, question: list[str], offset_s: float) -> None:
        self._question = question  # appends, a chunk each
        self._offset_s = offset_s
        self.seen = Seen()
        self._asked_s = 0.0  # when the last question ended
        self._answer_s = 0.0  # when the answer began to sound; 0: it has not
        self._played_s = 0.0  # of the answer

    async def run(self, url: str) -> None:
        """Call until cancelled."""
        try:
            async with open_websocket(url, compression=None, proxy=None, max_size=None) as socket:
                first = json.loads(await socket.recv())
                if first["type"] == "error":
                    self.seen.refused += 1
                    return
                reading = asyncio.create_task(self._read(socket))
                try:
                    await self._speak(socket)
                finally:
                    reading.cancel()
        except ConnectionClosed as closed:
            goodbye = closed.rcvd or closed.sent
            self.seen.lost = f"{goodbye.code} {goodbye.reason}" if goodbye else "1006"

    async def _speak(self, socket: ClientConnection) -> None:
        begun, number = time.perf_counter() + self._offset_s, 0
        per_cycle = round(CYCLE_S / CHUNK_S)
        silence = _append(bytes(CHUNK_BYTES))
        while True:
            due = begun + number * CHUNK_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.seen.client_late_s.append(time.perf_counter() - due)
            place = number % per_cycle
            await socket.send(self._question[place] if place < len(self._question) else silence)
            if place == len(self._question) - 1:
                self._asked_s, self._answer_s = time.perf_counter(), 0.0
            number += 1

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                if '"response.output_audio.delta"' in text[:80]:
                    self._hear(len(json.loads(text)["delta"]) * 3 // 4 / 48_000)

    def _hear(self, lasts_s: float) -> None:
        now = time.perf_counter()
        if not self._answer_s:
            self._answer_s, self._played_s = now, 0.0
            self.seen.first_audio_s.append(now - self._asked_s)
            self.seen.late_s.append(0.0)
        late_s = now - (self._answer_s + self._played_s)
        if late_s > 0 and self._played_s:
            self.seen.late_s[-1] = max(self.seen.late_s[-1], late_s)
        self._played_s += lasts_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default="10,20,40,80,160")
    parser.add_argument("--json", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    result = asyncio.run(_measure([int(count) for count in options.calls.split(",")]))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {options.json}")


async def _measure(counts: Sequence[int]) -> dict[str, Any]:
    shortest = min(load_questions().ordinary, key=lambda question: len(question.text))
    pcm = encode_pcm16(record(shortest, speaker(Config())).samples)
    starts = range(0, len(pcm) - CHUNK_BYTES + 1, CHUNK_BYTES)
    question = [_append(pcm[start : start + CHUNK_BYTES]) for start in starts]
    limit = f"server.max_calls={2 * max(counts)}"
    rows = []
    async with _edge(limit) as (edge, engine, url):
        callers: list[Caller] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            for count in counts:
                while len(callers) < count:
                    offset_s = len(callers) * 0.618034 % 1 * CYCLE_S  # spread, at any count
                    callers.append(Caller(question, offset_s))
                    tasks.append(asyncio.create_task(callers[-1].run(url)))
                    await asyncio.sleep(0.02)
                rows.append(await _step(count, callers, edge, engine, url))
                print(rows[-1], flush=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    return {
        "machine": asdict(this_machine()),
        "commit": source_commit(),
        "what": "scripted ear, brain and voice; real detector of speech; callers in real time",
        "cycle_s": CYCLE_S,
        "question_s": round(len(question) * CHUNK_S, 2),
        "rows": rows,
        "calls_that_a_core_computes": round(1 / rows[0]["edge_cpu_s_per_call_s"], 1),
    }


@contextlib.asynccontextmanager
async def _edge(limit: str) -> AsyncIterator[tuple[int, int, str]]:
    """The processes of an edge and of its engine, and where to call."""
    here = [sys.executable, "-m"]
    engine_command = [*here, "benchmarks.server.scripted_engine", limit]
    async with serving(engine_command) as engine:
        settings = [limit, "engine.kind=remote", f"engine.url={engine.url}"]
        async with serving([*here, "benchmarks.server.scripted", *settings]) as edge:
            yield edge.pid, engine.pid, edge.url


async def _step(
    count: int, callers: Sequence[Caller], edge: int, engine: int, url: str
) -> dict[str, Any]:
    await asyncio.sleep(SETTLE_S)
    for caller in callers:
        refused, lost = caller.seen.refused, caller.seen.lost
        caller.seen = Seen(refused=refused, lost=lost)
    begun = time.perf_counter()
    cpu = _cpu_s(edge), _cpu_s(engine), _own_cpu_s()
    lags = []
    while time.perf_counter() - begun < WINDOW_S:
        await asyncio.sleep(WINDOW_S / 4)
        lags.append(await asyncio.to_thread(_lag_s, url))
    took_s = time.perf_counter() - begun
    used = _cpu_s(edge) - cpu[0], _cpu_s(engine) - cpu[1], _own_cpu_s() - cpu[2]
    seen = [caller.seen for caller in callers]
    ends = Counter(one.lost for one in seen if one.lost)
    held = count - sum(one.refused for one in seen) - ends.total()
    late = [s for one in seen for s in one.late_s]
    call_s = max(held, 1) * took_s
    return {
        "calls": count,
        "held": held,
        "refused": sum(one.refused for one in seen),
        "lost": dict(ends),
        "answers": len(late),
        "answers_with_a_gap": sum(s > LATE_S for s in late),
        "first_audio_ms": _spread([s for one in seen for s in one.first_audio_s]),
        "late_ms": _spread(late),
        "edge_lag_p95_ms": [round(lag * 1000, 1) for lag in lags],
        "edge_cpu_s_per_call_s": round(used[0] / call_s, 5),
        "engine_cpu_s_per_call_s": round(used[1] / call_s, 5),
        "client_cpu_s_per_call_s": round(used[2] / call_s, 5),
        "edge_cores": round(used[0] / took_s, 3),
        "edge_rss_mib": round(resident_mib(edge), 1),
        "client_late_ms": _spread([s for one in seen for s in one.client_late_s]),
        "load": round(os.getloadavg()[0], 1),
    }


def _append(pcm: bytes) -> str:
    audio = base64.b64encode(pcm).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def _spread(values_s: Sequence[float]) -> dict[str, float]:
    if not values_s:
        return {}
    return {
        "p50": round(percentile(values_s, 0.5) * 1000, 1),
        "p95": round(percentile(values_s, 0.95) * 1000, 1),
    }


def _cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used, by the kernel's count."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _lag_s(url: str) -> float:
    base = url.replace("ws", "http", 1).removesuffix("/v1/realtime")
    with urlopen(f"{base}/metrics", timeout=30) as answer:
        found = _LAG.search(answer.read().decode())
    return float(found[1]) if found else 0.0


if __name__ == "__main__":
    main()
