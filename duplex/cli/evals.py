"""`duplex eval`: the client's accuracy measure, with a voice, a server and an ear of our own."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from client.bench.machine import source_commit, this_machine
from client.bench.metrics import check, failed
from client.bench.server_process import serving
from client.evaluation.items import Item, Record
from client.evaluation.page import percent, spread
from client.evaluation.report import read_run, write_comparison, write_report, write_run
from client.evaluation.results import (
    Comparison,
    Result,
    Run,
    compare_runs,
    metrics,
    scored,
    spreads,
)
from client.evaluation.runner import RunOptions, run
from client.evaluation.sets.catalogue import ABOUT, Wanted, load
from client.evaluation.targets.realtime import RealtimeOptions, RealtimeTarget
from client.evaluation.targets.target import Target
from client.realtime import ClientError
from duplex.cli.bench_options import told_command
from duplex.cli.evals_options import Asked
from duplex.cli.recordings import CachedSpeaker, server_command
from duplex.config import Config
from duplex.errors import ConfigError

OK, FAILED, USAGE, THRESHOLD = 0, 1, 2, 3  # exit codes


def list_sets() -> int:
    """Print the sets; returns the exit code."""
    for about in ABOUT.values():
        print(f"{about.name}\n  {about.title}\n  data: {about.origin}\n  licence: {about.licence}")
    return OK


def evaluate(config: Config, server_arguments: list[str], asked: Asked) -> int:
    """Ask a set's questions, print what was found, write the report; returns the exit code.

    Raises:
        ConfigError: the set or its data are not what they should be, or a package is missing.
    """
    _check_packages()
    asked.out.mkdir(parents=True, exist_ok=True)
    about = ABOUT.get(asked.set_name)
    if about is None:
        raise ConfigError(f"there is no set {asked.set_name}; there are {', '.join(ABOUT)}")
    try:
        items = load(
            asked.set_name, Wanted(asked.limit, asked.seed, asked.data), CachedSpeaker(config)
        )
        _tell(f"{about.title}: {len(items)} items; data: {about.origin}; licence: {about.licence}")
        records, made = asyncio.run(_ask(config, server_arguments, asked, items))
        write_run(about, made, asked.out)
        return _report(Result(about, made, scored(records)), asked)
    except ClientError as error:
        print(f"error: {error}")
        return FAILED
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def score_again(folder: Path) -> int:
    """Score a run's answers without asking anything; returns the exit code.

    Raises:
        ConfigError: there is no run in the folder.
    """
    _check_packages()
    try:
        result = read_run(folder)
        paths = write_report(result, folder)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    _print(result)
    print("report:", ", ".join(map(str, paths)))
    return OK


def compare(folders: list[Path], out: Path | None) -> int:
    """Compare two runs question by question; returns the exit code.

    Raises:
        ConfigError: they are no runs, or of different sets.
    """
    _check_packages()
    try:
        first, second = map(read_run, folders)
        found = compare_runs(first, second)
        paths = write_comparison(first, second, found, out or folders[1])
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    _print_compared(found)
    print("report:", ", ".join(map(str, paths)))
    return OK


def _check_packages() -> None:
    if find_spec("scipy") is None:
        raise ConfigError("duplex eval needs scipy: pip install 'duplex-r1[eval]'")


async def _ask(
    config: Config, server_arguments: list[str], asked: Asked, items: list[Item]
) -> tuple[list[Record], Run]:
    async with _target(server_arguments, asked) as target:
        options = RunOptions(parallel=asked.parallel)
        records = await run(items, target, asked.out, options, _tell)
    models = {}
    if asked.kind is None:
        models = {"ear": config.ear.model, "brain": config.brain.model}
        models["thinking"] = config.brain.thinking
    return records, Run(
        target="a server of our own" if asked.kind is None else target.name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=told_command(sys.argv[1:]),
        commit=source_commit(),
        machine=this_machine(),
        seed=asked.seed,
        limit=asked.limit,
        models=models,
    )


@contextlib.asynccontextmanager
async def _target(server_arguments: list[str], asked: Asked) -> AsyncIterator[Target]:
    options = RealtimeOptions(
        key=asked.key,
        model=asked.model,
        headers=asked.headers,
        duplex=not asked.foreign,
        output="audio" if asked.speech else "text",
        timeout_s=asked.timeout_s,
    )
    if asked.kind == "realtime":
        yield RealtimeTarget(asked.address, options)
        return
    command = server_command([*server_arguments, *_patient(asked.parallel)])
    async with serving(command) as server:
        yield RealtimeTarget(server.url, replace(options, model=None))


def _patient(parallel: int) -> list[str]:
    """A server that is asked for answers, not for speed, refuses nobody for being late."""
    settings = (
        f"server.max_calls={parallel + 1}",
        "limits.refuse_lag_ms=0",
        "limits.refuse_stage_ms=0",
    )
    return [part for setting in settings for part in ("--set", setting)]


def _report(result: Result, asked: Asked) -> int:
    found = check(asked.conditions, metrics(result), spreads(result), required=True)
    result = replace(result, checks=tuple(found))
    paths = write_report(result, asked.out)
    _print(result)
    for one in found:
        met = "met" if one.met else "MISSED"
        value = "not measured" if one.measured is None else f"{one.measured:.4g}"
        print(f"{one.metric}: {value} ({one.limit}) {met}")
    print("report:", ", ".join(map(str, paths)))
    if all(record.error is not None for record, _ in result.scored):
        print("error: no question was answered")
        return FAILED
    return THRESHOLD if failed(found) else OK


def _print(result: Result) -> None:
    width = max(map(len, (*result.categories, "all")))
    for condition in result.conditions:
        print(f"\n{condition}")
        for category in (None, *result.categories):
            part = result.figures(condition, category)
            if not part.n:
                continue
            right = f"{part.right:g} of {part.scored}" if part.scored else "not scored"
            print(
                f"  {category or 'all':{width}}  {right:>12}  {percent(part.accuracy):>8}  "
                f"{spread(part):>14}  chance {percent(part.chance)}  invalid {part.invalid}  "
                f"cut {part.cut}  errors {part.errors}"
            )
            for name, value in part.measures.items():
                print(f"  {'':{width}}  {name} {value:.3f}")
    _print_compared(result.comparisons)
    for one in result.about.published:
        print(f"published: {one.who}: {one.figure} ({one.source})")


def _print_compared(found: list[Comparison]) -> None:
    for one in found:
        if one.category:
            continue
        pair = one.paired
        ways = one.first if one.first == one.second else f"{one.first} -> {one.second}"
        p = "" if pair.p is None else f", p {pair.p:.3f}"
        print(
            f"\n{ways}: {100 * pair.difference:+.1f} points ({100 * pair.low:+.1f} to "
            f"{100 * pair.high:+.1f}), {pair.n} pairs, only one right {pair.only_first} / "
            f"{pair.only_second}{p}"
        )


def _tell(line: str) -> None:
    print(line, flush=True)
