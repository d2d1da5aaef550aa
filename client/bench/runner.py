"""Runs the benchmark's scenarios against one server, or against several in turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from client.bench.machine import source_commit, this_machine
from client.bench.noise import Kind, background
from client.bench.plan import Plan, Recordings, Scope, plan
from client.bench.result import BenchCall, BenchResult, BenchTurn, Group, Lanes
from client.bench.scoring import Scorer, Transcribe
from client.bench.server_process import resident_mib
from client.caller.caller import CallOptions, CallResult, Utterance, hold_call, set_up
from client.caller.turns import TurnResult
from client.drawing import svg
from client.realtime import (
    SAMPLE_RATE_HZ,
    ClientError,
    Refused,
    Unreachable,
    connect,
    realtime_url,
    safe_url,
)

Progress = Callable[[str], None]

BETWEEN_CALLS_S = 0.5  # a server may take a moment to free a line
MEMORY_INTERVAL_S = 0.5
LANE_STEP_MS = 40.0
COMPARED = ("short", "noise", "phone")  # the same questions


@dataclass(frozen=True, slots=True)
class Target:
    """A server under test. ``server_pid`` lets its memory be watched; ``duplex`` asks it for
    this project's stage marks, which a foreign server must not be."""

    url: str
    condition: str = "default"
    key: str | None = None
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: Path | None = None
    duplex: bool = True
    models: Mapping[str, str] = field(default_factory=dict)
    ready_s: float | None = None
    server_pid: int | None = None


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to run, and how the callers behave."""

    scope: Scope = field(default_factory=Scope)
    call: CallOptions = field(default_factory=CallOptions)
    command: str = ""  # as the report is to show it: without keys


async def bench(
    targets: Sequence[Target],
    options: BenchOptions,
    recordings: Recordings,
    *,
    transcribe: Transcribe | None = None,
    progress: Progress | None = None,
) -> list[BenchResult]:
    """Run the scenarios one after another; several servers take turns, call by call.

    ``transcribe`` lets the words of the answers be scored, too; scoring is done between the
    scenarios, never while a call is open. A call that the server refuses is counted; one that is
    lost keeps what it measured; when a server is gone its run ends with what there is.

    Raises:
        ClientError: a server cannot be reached at all, or rejects the session.
        ValueError: an unknown scenario, no questions, or a recording without speech.
    """
    plans = plan(options.scope, recordings)
    scorer = Scorer(transcribe, recordings.all)
    tell = progress or (lambda _: None)
    runs = [_Run(target, options, recordings, tell, len(targets) > 1) for target in targets]
    for run in runs:
        await run.look()
    for batch in _batches(plans):
        for run, group in await _hold_in_turn(runs, batch):
            run.groups.append(await asyncio.to_thread(scorer.group, group))
    order = [(one.scenario, one.callers) for one in plans]
    for run in runs:
        run.groups.sort(key=lambda group: order.index((group.scenario, group.callers)))
    return [run.result() for run in runs]


def _batches(plans: Sequence[Plan]) -> list[list[Plan]]:
    """What is compared with the short questions is held in turn with them; the rest by itself."""
    together = [one for one in plans if one.scenario in COMPARED]
    apart = [[one] for one in plans if one.scenario not in COMPARED]
    return [together, *apart] if together else apart


async def _hold_in_turn(
    runs: Sequence["_Run"], batch: Sequence[Plan]
) -> list[tuple["_Run", Group]]:
    """One call of each plan with every server, then the next; the order is turned round each
    time, so that neither always has the quieter moment."""
    parts = [(run, one, _Gathered()) for one in batch for run in runs]
    for index in range(max(len(_blocks(one)) for one in batch)):
        for run, one, gathered in parts if index % 2 == 0 else reversed(parts):
            blocks = _blocks(one)
            if run.gone is None and index < len(blocks):
                await run.block(one, blocks[index], index, gathered)
    found = [(run, gathered.group(one)) for run, one, gathered in parts]
    return [(run, group) for run, group in found if group is not None]


def _blocks(one: Plan) -> list[tuple[tuple[Utterance, ...], ...]]:
    """The calls that are held at the same time."""
    return [one.calls] if one.callers > 1 else [(utterances,) for utterances in one.calls]


@dataclass(slots=True)
class _Gathered:
    """One server's calls of a scenario so far."""

    calls: list[BenchCall] = field(default_factory=list)
    peak_mib: float | None = None

    def group(self, one: Plan) -> Group | None:
        if not self.calls:
            return None
        return Group(one.scenario, one.callers, tuple(self.calls), self.peak_mib)


class _Run:
    """One server's part of the run. ``gone`` tells why it ended early."""

    def __init__(
        self,
        target: Target,
        options: BenchOptions,
        recordings: Recordings,
        progress: Progress,
        named: bool,
    ) -> None:
        self._target = target
        self._options = options
        self._recordings = recordings
        self._progress = progress
        self._prefix = f"{target.condition}: " if named else ""
        self._url = realtime_url(target.url, target.model)
        self._session_options = replace(options.call.session, duplex=target.duplex)
        self._session: dict[str, Any] = {}
        self._idle_mib: float | None = None
        self._made_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.groups: list[Group] = []
        self.gone: str | None = None

    async def look(self) -> None:
        """Call once, say nothing, and keep what the server says of itself."""
        client = await self._connect()
        try:
            await set_up(client, self._session_options)
        except ClientError as error:
            hint = ". If it is not of this project, say --foreign" if self._target.duplex else ""
            raise ClientError(f"{safe_url(self._url)}: {error}{hint}") from error
        finally:
            await client.close()
        await asyncio.sleep(BETWEEN_CALLS_S)
        self._session = client.session
        self._idle_mib = self._memory()

    async def block(
        self, one: Plan, calls: Sequence[Sequence[Utterance]], index: int, gathered: _Gathered
    ) -> None:
        """Hold calls, all at the same time."""
        options = self._call_options(one.scenario)
        name = f"{one.callers} calls at a time" if one.callers > 1 else one.scenario
        if one.callers > 1 or index == 0:
            turns = sum(len(utterances) for utterances in one.calls)
            self._say(f"{name}: {turns} turns in {len(one.calls)} calls")
        stagger_s = self._options.scope.stagger_s
        async with self._watch_memory() as peak, asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(
                    self._call(
                        utterances,
                        name,
                        replace(options, seed=options.seed + index + number),
                        number * stagger_s,
                        index == 0 and one.callers == 1,
                    )
                )
                for number, utterances in enumerate(calls)
            ]
        gathered.calls += [task.result() for task in running]
        gathered.peak_mib = max([*peak, gathered.peak_mib or 0.0], default=None) or None
        if any(call.lost for call in gathered.calls[-len(running) :]):
            await self._see_whether_it_is_there()
        await asyncio.sleep(BETWEEN_CALLS_S)

    def result(self) -> BenchResult:
        """What was measured."""
        scope = asdict(self._options.scope)
        return BenchResult(
            condition=self._target.condition,
            made_at=self._made_at,
            command=self._options.command,
            commit=source_commit(),
            machine=this_machine(),
            models=dict(self._target.models),
            session=self._session,
            groups=tuple(self.groups),
            settings=scope,
            ready_s=self._target.ready_s,
            idle_mib=self._idle_mib,
            aborted=self.gone,
        )

    def _call_options(self, scenario: str) -> CallOptions:
        scope = self._options.scope
        options = replace(self._options.call, session=self._session_options)
        if scenario == "noise":
            kind = cast(Kind, scope.noise)
            noise = background(kind, self._recordings.ordinary, scope.snr_db)
            return replace(options, background=noise)
        if scenario == "phone":
            return replace(options, line=scope.line)
        return options

    async def _call(
        self,
        utterances: Sequence[Utterance],
        name: str,
        options: CallOptions,
        delay_s: float,
        draw: bool,
    ) -> BenchCall:
        await asyncio.sleep(delay_s)
        try:
            client = await self._connect()
            result = await hold_call(
                client,
                utterances,
                options,
                on_turn=lambda turn: self._say(f"{name}: {_words(turn)}"),
            )
        except Refused as error:
            self._say(f"{name}: a call was refused: {error}")
            return BenchCall(refused=str(error))
        except ClientError as error:  # one call's failure is a finding, not the end of the run
            self._say(f"{name}: a call failed: {error}")
            return BenchCall(lost=str(error))
        if result.lost is not None:
            self._say(f"{name}: a call was lost: {result.lost}")
        return _bench_call(result, draw)

    async def _see_whether_it_is_there(self) -> None:
        try:
            await asyncio.sleep(BETWEEN_CALLS_S)
            await (await self._connect()).close()
        except Refused:
            pass  # it is there, and busy
        except Unreachable as error:
            self.gone = str(error)
            self._say(f"the server is gone, the run ends here: {error}")

    async def _connect(self) -> Any:
        target = self._target
        return await connect(self._url, key=target.key, headers=target.headers, ca=target.ca)

    def _say(self, words: str) -> None:
        self._progress(self._prefix + words)

    def _memory(self) -> float | None:
        pid = self._target.server_pid
        return None if pid is None else resident_mib(pid)

    @contextlib.asynccontextmanager
    async def _watch_memory(self) -> AsyncIterator[list[float]]:
        """The highest so far. A process that ends is found gone by its callers."""
        peak: list[float] = []

        async def watch() -> None:
            with contextlib.suppress(ProcessLookupError):
                while (now := self._memory()) is not None:
                    peak[:] = [max([now, *peak])]
                    await asyncio.sleep(MEMORY_INTERVAL_S)

        watching = asyncio.create_task(watch())
        try:
            yield peak
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def _words(turn: TurnResult) -> str:
    """A turn for the progress line."""
    if turn.interrupts and turn.barge_in_ms is not None:
        if not turn.interrupted:
            told = "the answer went on"
        elif turn.resume_gap_ms is not None:
            told = f"the answer stopped and went on after {turn.resume_gap_ms:.0f} ms"
        else:
            told = f"the answer stopped after {turn.barge_in_ms:.0f} ms"
        return f"{turn.question_id}: {told}"
    if turn.backchannel:
        return f"{turn.question_id}: there was no answer to say it into"
    delay = "no answer" if turn.v2v_ms is None else f"{turn.v2v_ms:.0f} ms"
    return f"{turn.question_id}: {delay}"


def _bench_call(result: CallResult, draw: bool) -> BenchCall:
    lanes = None
    if draw and len(result.said):
        columns = max(1, round(len(result.said) * 1000 / SAMPLE_RATE_HZ / LANE_STEP_MS))
        said, heard = (svg.envelope(side, columns) for side in (result.said, result.heard))
        lanes = Lanes(LANE_STEP_MS, tuple(map(float, said)), tuple(map(float, heard)))
    return BenchCall(
        turns=tuple(BenchTurn(turn, 0.0) for turn in result.turns),
        errors=result.errors,
        late_ms=result.late_ms,
        lost=result.lost,
        lanes=lanes,
    )
