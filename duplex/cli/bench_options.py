"""The arguments of `duplex bench`."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from client.bench import SCENARIOS
from client.bench.metrics import MEASURING, METRICS, Condition, parse_condition
from client.bench.noise import Kind
from client.bench.plan import Scope
from client.realtime import safe_url
from client.telephone.channel import Codec, LineConditions
from duplex.cli.options import count, header, key_from
from duplex.errors import ConfigError

SUMMARY = "Measure latency from audio, at the client, of any OpenAI Realtime server."
EPILOG = (
    "Writes bench.json and bench.html. Exit codes: 0 measured; 1 an error, or the server was gone "
    "before the end, or held no call; 2 wrong usage; 3 a --fail-if came true. "
    "docs/bench.md has the metrics and the JSON."
)

TOLD_AS: dict[str, Callable[[str], str]] = {  # what of an option's value is for the report
    **dict.fromkeys(("--key", "--against-key", "--header"), lambda _: "..."),
    **dict.fromkeys(("--url", "--against"), safe_url),
    "--set": lambda text: safe_url(text) if "://" in text else text,
}
QUICK_SCENARIOS = ("short", "interruptions", "backchannels", "phone", "concurrent")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running already."""

    url: str
    name: str
    key: str | None
    model: str | None
    headers: dict[str, str]
    ca: Path | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; ``server`` is None for one of our own, to be started."""

    server: Server | None
    against: Server | None
    name: str
    foreign: bool
    out: Path
    scope: Scope
    quick: bool
    scoring: bool
    recordings: Path | None
    conditions: tuple[Condition, ...]
    answer_timeout_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything but the options of the models."""
    parser.epilog = EPILOG
    parser.allow_abbrev = False  # `told_command` knows options by their whole names
    _add_server(parser)
    _add_scope(parser)
    _add_line(parser)
    _add_report(parser)


def _add_server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("the server")
    server.add_argument(
        "--url",
        help="a running server, and --model is what is asked of it (default: start one of our own)",
    )
    server.add_argument("--against", metavar="URL", help="a second one, in turn with the first")
    server.add_argument(
        "--name", action="append", default=[], help="of the first server; again: of the second"
    )
    for who, prefix in (("", ""), (" of the second", "against-")):
        server.add_argument(f"--{prefix}key", metavar="KEY", help=f"API key{who}")
        server.add_argument(
            f"--{prefix}key-env", metavar="NAME", help=f"environment variable with the key{who}"
        )
    server.add_argument("--against-model", metavar="NAME", help="model asked of the second")
    server.add_argument(
        "--header",
        action="append",
        default=[],
        type=header,
        metavar="NAME:VALUE",
        help="sent with every connection, to both servers",
    )
    server.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM file: whose certificates to trust, for both"
    )
    server.add_argument(
        "--foreign",
        action="store_true",
        help="the server is not of this project: ask it for nothing that only this one has",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    report = parser.add_argument_group("the report")
    report.add_argument(
        "--out",
        type=Path,
        default=Path("out/bench"),
        metavar="DIR",
        help="where it goes (default out/bench)",
    )
    report.add_argument(
        "--no-scoring", action="store_true", help="do not check the answers' audio: needs no model"
    )
    report.add_argument(
        "--fail-if",
        action="append",
        default=[],
        type=_condition,
        metavar="CONDITION",
        help="such as v2v_p50_ms>600: exit code 3 if it is so, or was not measured",
    )
    report.add_argument(
        "--list-metrics", action="store_true", help="the names that --fail-if knows"
    )


def _add_scope(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_argument_group("what is measured")
    scope.add_argument(
        "--scenarios",
        type=_scenarios,
        help=f"some of {', '.join(SCENARIOS)}, with commas (default: all; with --quick some)",
    )
    scope.add_argument("--quick", action="store_true", help="a few turns, to see that it works")
    scope.add_argument("--turns", type=count, default=24, help="short questions (default 24)")
    scope.add_argument(
        "--events",
        type=count,
        default=12,
        help="interruptions, and as many backchannels (default 12)",
    )
    scope.add_argument(
        "--calls", type=_counts, default=(1, 2, 4, 8), help="concurrent calls (default 1,2,4,8)"
    )
    scope.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="sound files to ask (WAV, FLAC, Ogg, MP3), each with a .txt of its words (default: "
        "our own voice)",
    )
    scope.add_argument(
        "--noise", choices=get_args(Kind), default="pink", help="in the background (default pink)"
    )
    scope.add_argument(
        "--snr-db", type=float, default=15.0, help="speech over that noise (default 15)"
    )
    scope.add_argument(
        "--answer-timeout", type=float, default=20.0, metavar="S", help="silence that ends a turn"
    )
    scope.add_argument(
        "--self-test", action="store_true", help="only measure the bench's own measuring error"
    )


def _add_line(parser: argparse.ArgumentParser) -> None:
    usual = LineConditions()
    line = parser.add_argument_group("the telephone line, both ways")
    line.add_argument("--line-codec", choices=get_args(Codec), default=usual.codec)
    line.add_argument("--line-loss", type=float, default=usual.loss, help="share of packets")
    line.add_argument("--line-burst", type=float, help="packets lost in a row, on average")
    line.add_argument("--line-jitter-ms", type=float, default=usual.jitter_ms, help="3 sigma")
    line.add_argument("--line-buffer-ms", type=int, default=usual.buffer_ms, help="its delay")


def wanted(options: argparse.Namespace) -> Wanted:
    """Make sense of the parsed arguments. ``options.model`` is the server's, if one is named.

    Raises:
        ConfigError: they contradict each other, or name what is not there.
    """
    if len(options.name) > 2:
        raise ConfigError("--name is given at most twice")
    first = options.name[0] if options.name else _host(options.url) or "duplex"
    second = options.name[1] if len(options.name) > 1 else _host(options.against) or "second"
    if options.against is not None and first == second:
        raise ConfigError(f"both servers are called {first}: name them with --name")
    headers = dict(options.header)
    server = against = None
    if options.url is not None:
        key = key_from(options.key, options.key_env)
        server = Server(options.url, first, key, options.model, headers, options.ca)
    if options.against is not None:
        key = key_from(options.against_key, options.against_key_env)
        against = Server(options.against, second, key, options.against_model, headers, options.ca)
    return Wanted(
        server=server,
        against=against,
        name=first,
        foreign=options.foreign,
        out=options.out,
        scope=_scope(options),
        quick=options.quick,
        scoring=not options.no_scoring,
        recordings=options.recordings,
        conditions=tuple(options.fail_if),
        answer_timeout_s=options.answer_timeout,
    )


def metric_lines() -> list[str]:
    """Every name that `--fail-if` knows, and its meaning."""
    known = {name: metric.meaning for name, metric in METRICS.items()}
    known |= {name: meaning for name, (meaning, _) in MEASURING.items()}
    width = max(map(len, known))
    return [f"{name:{width}}  {meaning}" for name, meaning in known.items()]


def told_command(arguments: Sequence[str]) -> str:
    """The command as the report shows it: without keys, in addresses too."""
    told, before = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if before in TOLD_AS:
            told.append(TOLD_AS[before](argument))
            before = ""
        elif name in TOLD_AS and equals:
            told.append(f"{name}={TOLD_AS[name](value)}")
        else:
            told.append(argument)
            before = argument
    return shlex.join(["duplex", *told])


def _scope(options: argparse.Namespace) -> Scope:
    try:
        line = LineConditions(
            codec=options.line_codec,
            loss=options.line_loss,
            mean_burst=options.line_burst,
            jitter_ms=options.line_jitter_ms,
            buffer_ms=options.line_buffer_ms,
        )
    except ValueError as error:
        raise ConfigError(f"no such telephone line: {error}") from error
    usual_scenarios = QUICK_SCENARIOS if options.quick else SCENARIOS
    scope = Scope(
        scenarios=options.scenarios or usual_scenarios,
        turns=options.turns,
        events=options.events,
        call_counts=[calls for calls in options.calls if calls > 1],
        line=line,
        noise=options.noise,
        snr_db=options.snr_db,
    )
    if options.quick:
        scope = replace(
            scope,
            turns=1,
            turns_per_call=1,
            events=1,
            call_counts=[2],
            history_turns=2,
        )
    return scope


def _host(url: str | None) -> str | None:
    """An address without its path and its keys, which are more than a reader wants."""
    return None if url is None else safe_url(url).rpartition("://")[2].partition("/")[0]


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _scenarios(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(SCENARIOS):
        raise argparse.ArgumentTypeError(
            f"unknown scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}"
        )
    return names


def _counts(text: str) -> tuple[int, ...]:
    return tuple(count(part) for part in text.split(","))
