"""`duplex eval`: the client's accuracy measure, with a voice, a server and an ear of our own."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from msgspec import structs

from client.bench.machine import source_commit, this_machine
from client.bench.metrics import check, failed
from client.bench.server_process import serving
from client.evaluation.chat import ChatEndpoint
from client.evaluation.items import Item, Record
from client.evaluation.judging import described, judge
from client.evaluation.page import percent, spread
from client.evaluation.report import begin_run, read_run, write_comparison, write_report, write_run
from client.evaluation.results import (
    Comparison,
    Result,
    Run,
    compare_runs,
    metrics,
    scored,
    spreads,
)
from client.evaluation.runner import RunOptions, keep, listen, run
from client.evaluation.sets.catalogue import ABOUT, Wanted, load
from client.evaluation.targets.answers import AnswersFile
from client.evaluation.targets.chat import ChatTarget
from client.evaluation.targets.realtime import RealtimeOptions, RealtimeTarget
from client.evaluation.targets.target import Target
from client.realtime import ClientError, safe_url
from duplex.app import build, build_ear
from duplex.audio.files import read_sound
from duplex.audio.resample import resample
from duplex.cli.bench_options import told_command
from duplex.cli.evals_options import Asked
from duplex.cli.recordings import CachedSpeaker, server_command
from duplex.config import Config, EarConfig
from duplex.errors import ConfigError
from duplex.model_store import Progress

OK, FAILED, USAGE, THRESHOLD = 0, 1, 2, 3  # exit codes
SCORING_EAR = "whisper-base"  # not the server's own, which would forgive its own mistakes
EAR_HZ = 16_000
NEEDED = ("jiwer", "scipy")  # and pyarrow, for parquet files only


def list_sets() -> int:
    """Print the sets; returns the exit code."""
    for about in ABOUT.values():
        print(about.name)
        for name in ("title", "origin", "licence", "rule"):
            print(f"  {name}: {getattr(about, name)}")
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
        wanted = Wanted(asked.limit, asked.seed, asked.data)
        loaded = load(asked.set_name, wanted, CachedSpeaker(config))
        _tell(f"{about.title}: {len(loaded.items)} items")
        _tell(f"data: {about.origin}; licence: {about.licence}")
        for note in loaded.notes:
            _tell(f"note: {note}")
        made = _made(config, server_arguments, asked, tuple(loaded.notes))
        begin_run(about, made, asked.out)
        records = asyncio.run(_ask(server_arguments, asked, loaded.items))
        if asked.speech:
            records = _listened(config, records, asked)
            made = replace(made, ear=SCORING_EAR)
        if asked.judge is not None:
            endpoint = ChatEndpoint(asked.judge.url, asked.judge.model, asked.judge.key)
            records = asyncio.run(_judged(records, endpoint, asked))
            made = replace(made, judge=described(endpoint, records))
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
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        names = " and ".join(missing)
        raise ConfigError(f"duplex eval needs {names}: pip install 'duplex-r1[eval]'")


async def _ask(server_arguments: list[str], asked: Asked, items: list[Item]) -> list[Record]:
    async with _target(server_arguments, asked) as target:
        options = RunOptions(parallel=asked.parallel)
        return await run(items, target, asked.out, options, _tell)


def _made(config: Config, server_arguments: list[str], asked: Asked, notes: tuple[str, ...]) -> Run:
    if asked.kind is None:
        target = told_command(["serve", *server_arguments])
        models = {"ear": config.ear.model, "brain": config.brain.model}
        models["thinking"] = config.brain.thinking
    else:
        target, models = f"{asked.kind}:{safe_url(asked.address)}", {}
    if asked.kind is not None and asked.model is not None:
        models = {"model": asked.model}
    return Run(
        target=target,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=told_command(sys.argv[1:]),
        commit=source_commit(),
        machine=this_machine(),
        seed=asked.seed,
        limit=asked.limit,
        models=models,
        speech=asked.speech,
        notes=notes,
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
    if asked.kind == "file":
        yield AnswersFile(Path(asked.address))
        return
    if asked.kind == "chat":
        model, headers = asked.model or "default", asked.headers
        yield ChatTarget(ChatEndpoint(asked.address, model, asked.key, headers, asked.timeout_s))
        return
    command = server_command([*server_arguments, *_patient(asked.parallel)])
    async with serving(command) as server:
        yield RealtimeTarget(server.url, replace(options, model=None))


def _listened(config: Config, records: list[Record], asked: Asked) -> list[Record]:
    """Have our ear write down the spoken answers, and keep what it heard."""
    hearing = structs.replace(config, ear=EarConfig(model=SCORING_EAR))
    store = build.open_store(hearing)
    store.ensure([SCORING_EAR], Progress(sys.stderr))
    ear = build_ear.load_ear(hearing, store)

    def hear(path: Path) -> str:
        samples, rate_hz = read_sound(path)
        return ear.transcribe(resample(samples, rate_hz, EAR_HZ))

    heard = listen(records, asked.out, hear)
    keep(asked.out, heard)
    return heard


async def _judged(records: list[Record], endpoint: ChatEndpoint, asked: Asked) -> list[Record]:
    return await judge(records, endpoint, asked.parallel, lambda one: keep(asked.out, [one]), _tell)


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
