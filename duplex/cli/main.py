"""The command ``duplex``: arguments in, exit code out."""

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from duplex import logs
from duplex.cli import bench_options, demo, doctor, engine, evals_options, models, say, serve, talk
from duplex.cli.options import add_command, add_model_options, config_of, server_arguments
from duplex.errors import ConfigError, DuplexError

EPILOG = "duplex.example.toml shows every option of the configuration file with its default."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors a user can act on are printed as one line."""
    options = command_line().parse_args(arguments)
    logs.configure("text", verbose=options.verbose)
    try:
        return int(options.command(options))
    except DuplexError as error:
        print(f"duplex: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands. ``command`` of what it returns runs the one that was given."""
    parser = argparse.ArgumentParser(
        prog="duplex",
        description="Realtime speech conversation: an open server, its client and its bench.",
        epilog=EPILOG,
    )
    parser.add_argument("--verbose", action="store_true", help="log every chunk")
    parser.add_argument("--version", action="version", version=version_line())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (serve, engine, talk, demo, models, say, doctor):
        command.add(commands)
    _add_bench(commands)
    _add_eval(commands)
    return parser


def version_line() -> str:
    """What runs, on what: for a report of a fault."""
    try:
        number = version("duplex-r1")
    except PackageNotFoundError:
        number = "from a folder that is not installed"
    return f"duplex-r1 {number}, Python {platform.python_version()}, {platform.platform()}"


def _add_bench(commands: Any) -> None:
    parser = add_command(commands, "bench", _bench, bench_options.SUMMARY)
    bench_options.add_arguments(parser)
    add_model_options(parser)


def _bench(options: argparse.Namespace) -> int:
    from duplex.cli.bench import USAGE, benchmark, self_test

    if options.list_metrics:
        print("\n".join(bench_options.metric_lines()))
        return 0
    if options.self_test:
        return self_test()
    try:
        wanted = bench_options.wanted(options)
        if options.url is not None:
            options.model = None  # it named the server's model, not one of ours
        return benchmark(config_of(options), server_arguments(options), wanted)
    except ConfigError as error:
        print(f"duplex: {error}", file=sys.stderr)
        return USAGE


def _add_eval(commands: Any) -> None:
    parser = add_command(commands, "eval", _eval, evals_options.SUMMARY)
    evals_options.add_arguments(parser)
    add_model_options(parser)


def _eval(options: argparse.Namespace) -> int:
    from duplex.cli.evals import USAGE, compare, evaluate, list_sets, score_again

    try:
        if options.list:
            return list_sets()
        if options.score is not None:
            return score_again(options.score)
        if options.compare is not None:
            return compare(options.compare, options.out)
        asked = evals_options.asked(options)
        if asked.kind is not None:
            options.model = None  # it named the server's model, not one of ours
        return evaluate(config_of(options), server_arguments(options), asked)
    except ConfigError as error:
        print(f"duplex: {error}", file=sys.stderr)
        return USAGE
