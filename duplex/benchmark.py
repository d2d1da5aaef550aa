"""`duplex bench`: the client's benchmark, with recordings, a server and scoring of our own."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from client.bench.questions import load_questions, record
from client.bench.report import write_report
from client.bench.result import BenchResult, Goals, outcomes
from client.bench.runner import BenchOptions, Transcribe, bench
from client.bench.server_process import serving
from client.realtime import ClientError
from client.speech import Recording
from duplex import build
from duplex.config import Config, EarConfig
from duplex.models import Progress
from duplex.recordings import server_command, speaker
from engine.text_metrics import wer

SCORING_EAR = "whisper-base"  # not the server's own, which would forgive its own mistakes
GOALS = {"qwen2.5-coder-1.5b": Goals(v2v_p50_ms=800.0, v2v_p95_ms=1300.0, resident_mib=None)}


def benchmark(
    config: Config,
    server_arguments: list[str],
    *,
    url: str | None,
    out: Path,
    turns: int,
    calls: Sequence[int],
    scenarios: Sequence[str],
) -> int:
    """Measure the server at ``url``, or one started for the purpose; returns an exit code.

    A server of our own is started a second time without incremental prefill, for the curves of
    delay against the length of the turn and of the conversation.
    """
    speak = speaker(config)
    texts = load_questions()
    recordings = _Recordings(
        *(
            [record(question, speak) for question in questions]
            for questions in (texts.ordinary, texts.pauses, texts.long)
        )
    )
    options = BenchOptions(
        url=url or "",
        turns=turns,
        scenarios=scenarios,
        call_counts=[count for count in calls if count > 1],
        goals=GOALS.get(config.brain.model, Goals()),
        models={
            "ear": config.ear.model,
            "brain": config.brain.model,
            "voice": config.voice.model,
            "scoring ear": SCORING_EAR,
        },
    )
    # It is to be seen what load does: the server that we start refuses nobody.
    server_arguments = [*server_arguments, "--set", f"server.max_calls={max([4, *calls])}"]
    measure = partial(_measure, recordings=recordings, transcribe=_scoring(config))
    try:
        results = [asyncio.run(measure(options, server_arguments))]
        curves = [name for name in ("long", "history") if name in scenarios]
        if url is None and curves:
            plain = replace(options, condition="without incremental prefill", scenarios=curves)
            off = [*server_arguments, "--set", "brain.incremental_prefill=false"]
            results.append(asyncio.run(measure(plain, off)))
    except ClientError as error:
        print(f"error: {error}")
        return 1
    paths = write_report(results, out)
    for outcome in outcomes(results[0]):
        met = {True: "met", False: "MISSED", None: ""}[outcome.met]
        print(f"{outcome.name}: {outcome.measured} ({outcome.goal}; {outcome.count}) {met}")
    print("report:", ", ".join(str(path) for path in paths))
    return 0


@dataclass(frozen=True, slots=True)
class _Recordings:
    ordinary: Sequence[Recording]
    pauses: Sequence[Recording]
    long: Sequence[Recording]


async def _measure(
    options: BenchOptions,
    server_arguments: list[str],
    *,
    recordings: _Recordings,
    transcribe: Transcribe,
) -> BenchResult:
    async with AsyncExitStack() as stack:
        if not options.url:
            server = await stack.enter_async_context(serving(server_command(server_arguments)))
            options = replace(
                options, url=server.url, ready_s=server.ready_s, server_pid=server.pid
            )
        return await bench(
            options,
            recordings.ordinary,
            pauses=recordings.pauses,
            long_turns=recordings.long,
            transcribe=transcribe,
            count_errors=_count_errors,
            progress=lambda line: print(line, flush=True),
        )


def _scoring(config: Config) -> Transcribe:
    """A recogniser that checks the answers' audio."""
    scoring = structs.replace(config, ear=EarConfig(model=SCORING_EAR))
    store = build.open_store(scoring)
    store.ensure([SCORING_EAR], Progress(sys.stderr))
    return build.load_ear(scoring, store).transcribe


def _count_errors(reference: str, heard: str) -> tuple[int, int]:
    errors = wer([(reference, heard)])
    return errors.errors, errors.words
