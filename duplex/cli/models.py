"""`duplex models`: what is installed, in what state, and what fits on a GPU."""

import argparse
import sys
from typing import Any

from duplex.app import build, build_native
from duplex.cli.options import add_command, add_model_options, config_of
from duplex.model_store import Progress, render_status


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "models", models, "Show, fetch or check the models.")
    parser.add_argument("--install", action="store_true", help="fetch and convert what is missing")
    parser.add_argument("--verify", action="store_true", help="read every file and check its hash")
    parser.add_argument(
        "--fit",
        metavar="CHECKPOINT",
        help="print how many calls of it a GPU holds: a directory with its config.json, or a name "
        "such as step-audio-r1",
    )
    parser.add_argument(
        "--gpu-gb", type=float, default=80.0, metavar="GIB", help="of memory (default: 80)"
    )
    add_model_options(parser)


def models(options: argparse.Namespace) -> int:
    """Fetch or check the models if that is asked for, then list them; returns the exit code."""
    if options.fit is not None:
        print("\n".join(build_native.fit_table(options.fit, options.gpu_gb)))
        return 0
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
