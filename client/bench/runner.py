"""Runs the benchmark's scenarios against a server and scores what was said."""

import asyncio
import contextlib
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.bench import SCENARIOS
from client.bench.machine import source_commit, this_machine
from client.bench.result import BenchCall, BenchResult, BenchTurn, Goals, Group, WordErrors
from client.bench.server_process import resident_mib
from client.call import CallOptions, CallResult, Line, hold_call, set_up
from client.realtime import (
    SAMPLE_RATE_HZ,
    ClientError,
    Refused,
    SessionOptions,
    connect,
    realtime_url,
)
from client.speech import Recording, longest_pause_ms
from client.turns import TurnResult
from duplex.pcm import resample

Transcribe = Callable[[NDArray[np.float32]], str]  # 16 kHz samples -> words
CountErrors = Callable[[str, str], tuple[int, int]]  # reference, heard -> edits, reference words
Progress = Callable[[str], None]

ASR_RATE_HZ = 16_000
BETWEEN_CALLS_S = 0.5  # a server may take a moment to free a line
MEMORY_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to run. Scenarios without recordings are left out.

    ``turns`` of the single caller are spread over calls of ``turns_per_call``, which is also the
    length of each concurrent call. ``server_pid`` lets the server's memory be watched.
    """

    url: str
    key: str | None = None
    model: str | None = None
    condition: str = "default"
    scenarios: Sequence[str] = SCENARIOS
    turns: int = 20
    turns_per_call: int = 5
    call_counts: Sequence[int] = (2, 4, 8)
    stagger_s: float = 1.3
    barge_ins: int = 5
    interrupt_after_ms: float = 1200.0
    history_turns: int = 10
    call: CallOptions = field(
        default_factory=lambda: CallOptions(session=SessionOptions(duplex=True))
    )
    goals: Goals = field(default_factory=Goals)
    models: Mapping[str, str] = field(default_factory=dict)
    command: str = field(default_factory=lambda: shlex.join(["duplex", *sys.argv[1:]]))
    ready_s: float | None = None
    server_pid: int | None = None


async def bench(
    options: BenchOptions,
    questions: Sequence[Recording],
    *,
    pauses: Sequence[Recording] = (),
    long_turns: Sequence[Recording] = (),
    transcribe: Transcribe | None = None,
    count_errors: CountErrors | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Run the scenarios one after another.

    ``transcribe`` and ``count_errors`` score the words; they run between the scenarios, never
    while a call is open. A call that the server refuses is counted; one that is lost keeps what
    it measured.

    Raises:
        ClientError: the server cannot be reached at all, or rejects the session.
        ValueError: an unknown scenario, no questions, or a recording without speech.
    """
    if unknown := set(options.scenarios) - set(SCENARIOS):
        raise ValueError(f"unknown scenario {', '.join(sorted(unknown))}")
    if not questions:
        raise ValueError("there are no questions to ask")
    run = _Run(options, progress or (lambda _: None))
    scorer = _Scorer(transcribe, count_errors, [*questions, *pauses, *long_turns])
    session = await run.look()
    idle_mib = run.memory()
    groups = []
    for scenario, callers, calls in plan(options, questions, pauses, long_turns):
        group = await run.group(scenario, callers, calls)
        groups.append(await asyncio.to_thread(scorer.group, group))
    return BenchResult(
        condition=options.condition,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=options.command,
        commit=source_commit(),
        machine=this_machine(),
        models=dict(options.models),
        session=session,
        groups=tuple(groups),
        goals=options.goals,
        ready_s=options.ready_s,
        idle_mib=idle_mib,
    )


Plan = tuple[str, int, list[list[Line]]]  # scenario, callers at a time, the lines of each call


def plan(
    options: BenchOptions,
    questions: Sequence[Recording],
    pauses: Sequence[Recording],
    long_turns: Sequence[Recording],
) -> list[Plan]:
    """Who says what, in which call."""

    def ask(first: int, count: int) -> list[Line]:
        return [Line(questions[(first + i) % len(questions)]) for i in range(count)]

    per_call = options.turns_per_call
    single = [
        ask(first, min(per_call, options.turns - first))
        for first in range(0, options.turns, per_call)
    ]
    plans: list[Plan] = [("single", 1, single)]
    for callers in options.call_counts:
        calls = [ask(caller * per_call, per_call) for caller in range(callers)]
        plans.append(("concurrent", callers, calls))
    lines = [Line(recording) for recording in pauses]
    plans.append(("pauses", 1, [lines[i : i + per_call] for i in range(0, len(lines), per_call)]))
    plans.append(
        ("barge-in", 1, [_barge_in(options, ask(2 * i, 2)) for i in range(options.barge_ins)])
    )
    plans.append(("long", 1, [[Line(recording)] for recording in long_turns]))
    plans.append(("history", 1, [ask(0, options.history_turns)]))
    return [entry for entry in plans if entry[0] in options.scenarios and entry[2]]


def _barge_in(options: BenchOptions, lines: list[Line]) -> list[Line]:
    return [lines[0], replace(lines[1], interrupt_after_ms=options.interrupt_after_ms)]


class _Run:
    """Holds the calls of one benchmark run."""

    def __init__(self, options: BenchOptions, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._url = realtime_url(options.url, options.model)

    async def look(self) -> dict[str, Any]:
        """Call once, say nothing, and return what the server says of itself."""
        client = await connect(self._url, key=self._options.key)
        try:
            await set_up(client, self._options.call.session)
        finally:
            await client.close()
        await asyncio.sleep(BETWEEN_CALLS_S)
        return client.session

    def memory(self) -> float | None:
        """The server's resident memory now, if it is watched."""
        pid = self._options.server_pid
        return None if pid is None else resident_mib(pid)

    async def group(self, scenario: str, callers: int, calls: list[list[Line]]) -> Group:
        """Hold the calls: one after another, or all at a time if there is a caller for each."""
        name = f"{callers} calls at a time" if callers > 1 else scenario
        self._progress(f"{name}: {sum(map(len, calls))} turns in {len(calls)} calls")
        results: list[BenchCall] = []
        async with self._watch_memory() as peak:
            if callers > 1:
                async with asyncio.TaskGroup() as tasks:
                    running = [
                        tasks.create_task(
                            self._call(lines, name, index, index * self._options.stagger_s)
                        )
                        for index, lines in enumerate(calls)
                    ]
                results = [task.result() for task in running]
            else:
                for index, lines in enumerate(calls):
                    results.append(await self._call(lines, name, index, 0.0))
                    await asyncio.sleep(BETWEEN_CALLS_S)
        return Group(scenario, callers, tuple(results), max(peak, default=None))

    async def _call(self, lines: list[Line], name: str, seed: int, delay_s: float) -> BenchCall:
        def tell(turn: TurnResult) -> None:
            delay = "no answer" if turn.v2v_ms is None else f"{turn.v2v_ms:.0f} ms"
            self._progress(f"{name}: {turn.question_id}: {delay}")

        options = replace(self._options.call, seed=self._options.call.seed + seed)
        await asyncio.sleep(delay_s)
        try:
            client = await connect(self._url, key=self._options.key)
            return _bench_call(await hold_call(client, lines, options, on_turn=tell))
        except Refused as error:
            self._progress(f"{name}: a call was refused: {error}")
            return BenchCall(refused=str(error))
        except ClientError as error:  # one call's failure is a finding, not the end of the run
            self._progress(f"{name}: a call failed: {error}")
            return BenchCall(lost=str(error))

    @contextlib.asynccontextmanager
    async def _watch_memory(self) -> AsyncIterator[list[float]]:
        peak: list[float] = []

        async def watch() -> None:
            while (now := self.memory()) is not None:
                peak[:] = [max([now, *peak])]
                await asyncio.sleep(MEMORY_INTERVAL_S)

        watching = asyncio.create_task(watch())
        try:
            yield peak
        finally:
            watching.cancel()
            try:
                await watching
            except asyncio.CancelledError:
                pass
            except ProcessLookupError as error:
                raise ClientError("the server's process ended during the benchmark") from error


def _bench_call(result: CallResult) -> BenchCall:
    return BenchCall(
        turns=tuple(BenchTurn(turn, 0.0) for turn in result.turns),
        errors=result.errors,
        late_ms=result.late_ms,
        lost=result.lost,
    )


class _Scorer:
    """Adds what needs ears to the turns of a group."""

    def __init__(
        self,
        transcribe: Transcribe | None,
        count_errors: CountErrors | None,
        recordings: Sequence[Recording],
    ) -> None:
        self._transcribe = transcribe
        self._count_errors = count_errors
        self._pauses = {item.id: longest_pause_ms(item.samples) for item in recordings}

    def group(self, group: Group) -> Group:
        calls = [
            replace(call, turns=tuple(self._turn(scored.turn) for scored in call.turns))
            for call in group.calls
        ]
        return replace(group, calls=tuple(calls))

    def _turn(self, turn: TurnResult) -> BenchTurn:
        question_errors = answer_errors = heard = None
        if turn.question:
            question_errors = self._errors(turn.question, turn.transcript)
        complete = not turn.answer_cut and turn.status == "completed" and turn.cut_offs == 0
        if self._transcribe is not None and complete and len(turn.answer_samples):
            heard = self._transcribe(resample(turn.answer_samples, SAMPLE_RATE_HZ, ASR_RATE_HZ))
            if turn.answer:
                answer_errors = self._errors(turn.answer, heard)
        return BenchTurn(
            turn, self._pauses[turn.question_id], question_errors, heard, answer_errors
        )

    def _errors(self, reference: str, heard: str) -> WordErrors | None:
        return (
            None
            if self._count_errors is None
            else WordErrors(*self._count_errors(reference, heard))
        )
