"""`duplex bench`: the client's benchmark, with recordings, a server and scoring of our own.

This is a command of the product: it measures any server over the wire, for whoever runs one. The
studies that chose this project's defaults are scripts in `benchmarks/`.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec

from msgspec import structs

from client.bench.compare import compare
from client.bench.metrics import (
    Condition,
    check,
    failed,
    figures,
    from_few,
    parse_condition,
    spreads,
)
from client.bench.plan import Recordings, Scope, left_out
from client.bench.questions import load_questions, read_recordings, record_all
from client.bench.report import write_report
from client.bench.result import BenchResult, Check, MeasuringError, Report
from client.bench.runner import BenchOptions, Target, bench
from client.bench.scoring import Transcribe
from client.bench.self_test import LONG, QUICK, SHORT, describe, measure_error
from client.bench.server_process import serving
from client.bench.tables import figure
from client.caller.caller import CallOptions
from client.realtime import ClientError
from duplex.app import build, build_ear
from duplex.cli.bench_options import Server, Wanted, told_command
from duplex.cli.recordings import make_folder, own_key, server_command, speaker
from duplex.config import Config, EarConfig
from duplex.errors import ConfigError
from duplex.model_store import Progress

OK, FAILED, USAGE, THRESHOLD = 0, 1, 2, 3  # exit codes

SCORING_EAR = "whisper-base"  # not the server's own, which would forgive its own mistakes
TURN_TAKING_GOALS = (
    "phone_added_ms>150",
    "phone_wer_ratio>1.5",
    "stop_p95_ms>300",
    "false_stop_rate>=0.03",
)
GOALS = (
    "v2v_p50_ms>500",
    "v2v_p95_ms>900",
    "concurrent4_factor>1.5",
    "ready_s>8",
    "resident_mib>1526",  # 1.6e9 bytes
    "answer_wer>0.05",
    *TURN_TAKING_GOALS,
)
GOALS_OF = {"qwen2.5-coder-1.5b": ("v2v_p50_ms>800", "v2v_p95_ms>1300", *TURN_TAKING_GOALS)}
QUICK_RECORDINGS = 1  # of each kind
NEEDED = ("jiwer", "scipy")  # the packages of the extra `bench`


def benchmark(config: Config, server_arguments: list[str], wanted: Wanted) -> int:
    """Measure, print what was found, write the report; returns the exit code.

    A server of our own is started a second time without incremental prefill, for the curves of
    delay against the length of the turn and of the conversation.

    Raises:
        ConfigError: the recordings cannot be read, nothing can be written to the report's folder,
            or a package is missing.
    """
    _check_packages()
    make_folder(wanted.out)
    recordings = _recordings(config, wanted)
    for name in left_out(wanted.scope, recordings):
        _tell(f"{name}: left out, there are no recordings for it")
    try:
        results, measuring = asyncio.run(
            _run(config, server_arguments, wanted, recordings, _scoring(config, wanted))
        )
    except ClientError as error:
        print(f"error: {error}")
        return FAILED
    measured = figures(results[0], measuring)
    spread = spreads(results[0])
    checks = [
        *check(_goals(config, wanted), measured, spread, required=False),
        *check(wanted.conditions, measured, spread, required=True),
    ]
    compared = compare(results[0], results[1]) if wanted.against is not None else []
    report = Report(tuple(results), measuring, tuple(compared), tuple(checks))
    paths = write_report(report, wanted.out)
    _print(report)
    print("report:", ", ".join(str(path) for path in paths))
    if gone := [result.aborted for result in results if result.aborted is not None]:
        print(f"error: the run ended early: {gone[0]}")
        return FAILED
    if not all(result.held for result in results):
        print("error: every call was refused or lost")
        return FAILED
    return THRESHOLD if failed(checks) else OK


def self_test(clicks: int = LONG) -> int:
    """Measure known delays, print what the bench makes of them; returns the exit code.

    Raises:
        ConfigError: a package is missing.
    """
    _check_packages()
    try:
        error = asyncio.run(measure_error(clicks))
    except ClientError as problem:
        print(f"error: {problem}")
        return FAILED
    for line in describe(error):
        print(line)
    return OK


def _check_packages() -> None:
    """Before anything is measured, rather than when the figures are made of it."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        names = " and ".join(missing)
        raise ConfigError(f"duplex bench needs {names}: pip install 'duplex-r1[bench]'")


async def _run(
    config: Config,
    server_arguments: list[str],
    wanted: Wanted,
    recordings: Recordings,
    transcribe: Transcribe | None,
) -> tuple[list[BenchResult], MeasuringError]:
    clicks = QUICK if wanted.quick else SHORT
    _tell(f"the bench itself: {clicks} clicks at known delays")
    measuring = await measure_error(clicks)
    for line in describe(measuring):
        _tell(f"the bench itself: {line}")
    measure = _Measure(recordings, transcribe, wanted.answer_timeout_s)
    most = max([4, *wanted.scope.call_counts])
    # It is to be seen what load does: the server that we start refuses nobody.
    server_arguments = [*server_arguments, "--set", f"server.max_calls={most}"]
    started = Target(
        "", wanted.name, own_key(config), duplex=not wanted.foreign, models=_models(config)
    )
    targets = [started if wanted.server is None else _target(wanted.server, wanted)]
    if wanted.against is not None:
        targets.append(_target(wanted.against, wanted))
    results = await measure(targets, wanted.scope, server_arguments)
    curves = tuple(name for name in ("long", "history") if name in wanted.scope.scenarios)
    if wanted.server is None and wanted.against is None and curves and not wanted.quick:
        plain = replace(started, condition="without incremental prefill")
        off = [*server_arguments, "--set", "brain.incremental_prefill=false"]
        results += await measure([plain], replace(wanted.scope, scenarios=curves), off)
    return results, measuring


@dataclass(frozen=True, slots=True)
class _Measure:
    """Runs scenarios; starts the server first that has no address."""

    recordings: Recordings
    transcribe: Transcribe | None
    answer_timeout_s: float

    async def __call__(
        self, targets: Sequence[Target], scope: Scope, server_arguments: list[str]
    ) -> list[BenchResult]:
        async with AsyncExitStack() as stack:
            ready = []
            for target in targets:
                if not target.url:
                    command = server_command(server_arguments)
                    server = await stack.enter_async_context(serving(command))
                    target = replace(
                        target, url=server.url, ready_s=server.ready_s, server_pid=server.pid
                    )
                ready.append(target)
            options = BenchOptions(
                scope,
                CallOptions(answer_timeout_s=self.answer_timeout_s),
                told_command(sys.argv[1:]),
            )
            return await bench(
                ready,
                options,
                self.recordings,
                transcribe=self.transcribe,
                progress=_tell,
            )


def _recordings(config: Config, wanted: Wanted) -> Recordings:
    if wanted.recordings is not None:
        try:
            found = read_recordings(wanted.recordings)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--recordings: {error}") from error
    else:
        found = record_all(load_questions(), speaker(config))
    if wanted.quick:
        few = QUICK_RECORDINGS
        found = replace(found, pauses=found.pauses[:few], long=found.long[:few])
    return found


def _target(server: Server, wanted: Wanted) -> Target:
    return Target(
        server.url,
        server.name,
        server.key,
        server.model,
        server.headers,
        server.ca,
        not wanted.foreign,
    )


def _models(config: Config) -> dict[str, str]:
    return {"ear": config.ear.model, "brain": config.brain.model, "voice": config.voice.model}


def _goals(config: Config, wanted: Wanted) -> list[Condition]:
    """What this project aims at, of a server of its own."""
    if wanted.foreign:
        return []
    goals = GOALS_OF.get(config.brain.model, GOALS) if wanted.server is None else GOALS
    return [parse_condition(goal) for goal in goals]


def _scoring(config: Config, wanted: Wanted) -> Transcribe | None:
    """A recogniser that checks the answers' audio, if that is wanted."""
    if not wanted.scoring:
        return None
    scoring = structs.replace(config, ear=EarConfig(model=SCORING_EAR))
    store = build.open_store(scoring)
    store.ensure([SCORING_EAR], Progress(sys.stderr))
    return build_ear.load_ear(scoring, store).transcribe


def _print(report: Report) -> None:
    for result in report.results:
        if len(report.results) > 1:
            print(f"\n{result.condition}")
        few = from_few(result)
        for name, value in figures(result).items():
            note = f"  (from {few[name]}: too few for this percentile)" if name in few else ""
            print(f"  {name:24} {figure(value)}{note}")
    for one in report.compared:
        if one.ratio is not None:
            ratio = f"ratio {one.ratio.value:.2f} ({one.ratio.words})"
            print(f"{one.scenario}: {one.figure}: {ratio}")
    for one_check in report.checks:
        print(check_line(one_check))


def check_line(one: Check) -> str:
    """A figure beside its limit. One that so few measurements do not settle is not simply met."""
    met = {True: "met", False: "MISSED", None: "MISSED" if one.required else ""}[one.met]
    if one.met and one.sure is False:
        met = f"met in {one.n}, too few"
    value = figure(one.measured) + ("" if one.n is None else f" in {one.n}")
    kind = "" if one.required else "goal: "
    return f"{kind}{one.metric}: {value} ({one.limit}) {met}".rstrip()


def _tell(line: str) -> None:
    print(line, flush=True)
