"""`duplex models`: what is installed, and in what state."""

import argparse
import sys
from typing import Any

from duplex.app import build
from duplex.cli.options import add_command, add_model_options, config_of
from duplex.model_store import Progress, render_status


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "models", models, "Show, fetch or check the models.")
    parser.add_argument("--install", action="store_true", help="fetch and convert what is missing")
    parser.add_argument("--verify", action="store_true", help="read every file and check its hash")
    add_model_options(parser)


def models(options: argparse.Namespace) -> int:
    """Fetch or check the models if that is asked for, then list them; returns the exit code."""
    config = config_of(options)
    store = build.open_store(config)
    progress = Progress(sys.stderr)
    if options.install:
        build.install(config, store, progress)
    if options.verify:
        for model in store.status():
            if model.state in ("verified", "damaged"):
                store.verify(model.name, progress)
    print(render_status(store))
    return 0
