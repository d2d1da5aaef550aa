"""The arguments of `duplex eval`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from client.bench.metrics import Condition, read_condition
from duplex.cli.options import count, header, key_from
from duplex.errors import ConfigError

SUMMARY = "Measure the accuracy of a served model: of any Realtime server, or a chat endpoint."
EPILOG = (
    "Writes answers.jsonl, eval.json and eval.html. A run that was stopped goes on where it was. "
    "Exit codes: 0 measured; 1 an error; 2 wrong usage; 3 a --fail-if came true. "
    "docs/evaluation.md has the sets and the rules."
)
EXAMPLE = "accuracy<0.5"
KINDS = ("realtime", "chat", "file")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; ``target`` is None for a server of our own."""

    set_name: str
    kind: str | None
    address: str
    key: str | None
    model: str | None
    headers: dict[str, str]
    foreign: bool
    speech: bool
    data: str | None
    out: Path
    limit: int | None
    seed: int
    parallel: int
    timeout_s: float
    judge: "Judging | None"
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Judging:
    """A model that scores what no rule can: an OpenAI-compatible chat endpoint."""

    url: str
    model: str
    key: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything but the options of the models."""
    parser.epilog = EPILOG
    parser.allow_abbrev = False
    parser.add_argument("set_name", nargs="?", metavar="SET", help="a name from --list")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="the sets, their data and licences")
    other.add_argument("--score", type=Path, metavar="DIR", help="score a run's answers again")
    other.add_argument(
        "--compare", type=Path, nargs=2, metavar="DIR", help="two runs of one set, pair by pair"
    )
    _add_target(parser)
    _add_scope(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group("what is asked (default: a server of our own, started)")
    target.add_argument("--url", help="a Realtime server; --model is what is asked of it")
    target.add_argument(
        "--target",
        metavar="KIND:ADDRESS",
        help="realtime:ws://..., chat:http://host/v1 (a chat endpoint that takes input_audio), "
        "file:answers.jsonl",
    )
    target.add_argument("--key", help="API key")
    target.add_argument("--key-env", metavar="NAME", help="environment variable with the key")
    target.add_argument("--header", action="append", default=[], type=header, metavar="NAME:VALUE")
    target.add_argument(
        "--foreign", action="store_true", help="the server is not of this project: no thoughts"
    )
    target.add_argument(
        "--speech",
        action="store_true",
        help="ask for spoken answers, and score what an ear (whisper-base) hears in them",
    )
    target.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="of one question (default 300)"
    )


def _add_scope(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_argument_group("what is measured, and how")
    scope.add_argument("--data", metavar="DIR-OR-NAME", help="a folder, or a data set on the hub")
    scope.add_argument("--limit", type=count, metavar="N", help="at most so many questions")
    scope.add_argument("--seed", type=int, default=0, help="which questions (default 0)")
    scope.add_argument(
        "--parallel", type=count, default=1, metavar="P", help="questions at a time (default 1)"
    )
    scope.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes (default out/eval/SET)",
    )
    scope.add_argument("--judge", metavar="URL", help="a chat endpoint that scores free answers")
    scope.add_argument("--judge-model", metavar="NAME", help="its model")
    scope.add_argument("--judge-key-env", metavar="NAME", help="the variable with its key")
    scope.add_argument(
        "--fail-if",
        action="append",
        default=[],
        type=_condition,
        metavar="CONDITION",
        help=f"such as {EXAMPLE}: exit code 3 if it is so, or was not measured",
    )


def asked(options: argparse.Namespace) -> Asked:
    """Make sense of the parsed arguments.

    Raises:
        ConfigError: they contradict each other, or name what is not there.
    """
    if options.set_name is None:
        raise ConfigError("name a set; --list prints them")
    kind, address = _target(options)
    return Asked(
        set_name=options.set_name,
        kind=kind,
        address=address,
        key=key_from(options.key, options.key_env),
        model=options.model,
        headers=dict(options.header),
        foreign=options.foreign,
        speech=options.speech,
        data=options.data,
        out=options.out or Path("out/eval") / options.set_name,
        limit=options.limit,
        seed=options.seed,
        parallel=options.parallel,
        timeout_s=options.timeout,
        judge=_judge(options),
        conditions=tuple(options.fail_if),
    )


def _target(options: argparse.Namespace) -> tuple[str | None, str]:
    if options.url is not None and options.target is not None:
        raise ConfigError("--url and --target name the same thing; give one")
    if options.url is not None:
        return "realtime", options.url
    if options.target is None:
        return None, ""
    kind, _, address = options.target.partition(":")
    if kind not in KINDS or not address:
        raise ConfigError(
            f"--target {options.target}: it is one of {', '.join(f'{k}:...' for k in KINDS)}"
        )
    return kind, address


def _judge(options: argparse.Namespace) -> Judging | None:
    if options.judge is None:
        return None
    if options.judge_model is None:
        raise ConfigError("--judge needs --judge-model")
    return Judging(options.judge, options.judge_model, key_from(None, options.judge_key_env))


def _condition(text: str) -> Condition:
    try:
        return read_condition(text, EXAMPLE)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
