"""The options that several commands share, and the configuration they give."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from duplex.config import Config, load_config
from duplex.errors import ConfigError
from duplex.toml_file import parse_assignment

Run = Callable[[argparse.Namespace], int]
"""A command: its options in, exit code out."""


def add_command(commands: Any, name: str, run: Run, summary: str) -> argparse.ArgumentParser:
    """Add a command that calls ``run``; returns its parser, for its options."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=run)
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which models a server has, and every other of its options."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any option")
    parser.add_argument("--ear", metavar="MODEL", help="whisper-tiny.en (default), whisper-base")
    parser.add_argument(
        "--brain", metavar="MODEL", help="qwen2.5-coder-0.5b (default), qwen2.5-coder-1.5b"
    )
    parser.add_argument(
        "--model",
        metavar="DIR-OR-NAME",
        help="a Step-Audio or Qwen2 checkpoint for the native engine: a directory, or org/name "
        "on the hub",
    )
    parser.add_argument(
        "--thinking",
        nargs="?",
        const="before",
        choices=["before", "think_first", "speak_first"],
        help="reason unheard: before answering (default), or, natively, while speaking",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="any option of the configuration file",
    )


def config_of(options: argparse.Namespace) -> Config:
    """The configuration file with the options of the command line on top.

    Raises:
        ConfigError: they cannot be used, or contradict each other.
    """
    return load_config(
        options.config,
        {
            "ear.model": options.ear,
            **_brain(options),
            "brain.thinking": options.thinking,
            "server.host": getattr(options, "host", None),
            "server.port": getattr(options, "port", None),
            "server.insecure": getattr(options, "insecure", None),
            **dict(parse_assignment(text) for text in options.set),
        },
    )


def server_arguments(options: argparse.Namespace) -> list[str]:
    """The arguments for a ``duplex serve`` that is to have the same models."""
    arguments = []
    for name in ("config", "ear", "brain", "model", "thinking"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name}", str(value)]
    for text in options.set:
        arguments += ["--set", text]
    return arguments


def _brain(options: argparse.Namespace) -> dict[str, Any]:
    """What --brain or --model says.

    Raises:
        ConfigError: both are given.
    """
    if options.model is None:
        return {"brain.model": options.brain}
    if options.brain is not None:
        raise ConfigError("--brain and --model name the same thing; give one")
    model = options.model
    if Path(model).is_dir():
        model = str(Path(model).resolve())
    elif model.count("/") == 1 and ":" not in model and not model.startswith((".", "~", "/")):
        model = f"hub:{model}"
    return {"brain.kind": "native", "brain.model": model}


def key_from(given: str | None, variable: str | None) -> str | None:
    """A key that is given, or stands in an environment variable; None: neither.

    Raises:
        ConfigError: both are named, or there is no such variable.
    """
    if variable is None:
        return given
    if given is not None:
        raise ConfigError("a key and a variable with a key: give one")
    if not os.environ.get(variable):
        raise ConfigError(f"there is no environment variable {variable}")
    return os.environ[variable]


def header(text: str) -> tuple[str, str]:
    """Read ``NAME: VALUE``.

    Raises:
        ArgumentTypeError: it is no header.
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header such as OpenAI-Safety: value")
    return name.strip(), value.strip()


def count(text: str) -> int:
    """Read a number of things.

    Raises:
        ArgumentTypeError: it is none from 1 up.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
