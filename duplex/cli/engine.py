"""`duplex engine`: an ear and a brain for servers on other machines, until it is interrupted."""

import argparse
import asyncio
import sys
from typing import Any

from msgspec import structs

from duplex import logs
from duplex.cli.options import add_command, add_model_options, config_of
from duplex.errors import ConfigError

_PORT = 8766


def add(commands: Any) -> None:
    """Add the command."""
    summary = "Hear and think for servers on other machines (their engine.kind is remote)."
    parser = add_command(commands, "engine", serve, summary)
    parser.add_argument(
        "--listen",
        default=f"127.0.0.1:{_PORT}",
        metavar="HOST:PORT",
        help=f"address to listen on (default 127.0.0.1:{_PORT})",
    )
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="serve other machines without a key",
    )
    add_model_options(parser)


def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit code."""
    from duplex.app import build
    from duplex.app.engine_host import EngineHost
    from duplex.model_store import Progress
    from duplex.server import memory
    from duplex.server.keys import check_exposure, load_keys
    from duplex.server.lifetime import check_address, tls_context

    options.host, options.port = address(options.listen)
    config = config_of(options)
    # Edges listen to the ends of turns: the engine loads nothing for that.
    config = structs.replace(config, turn=structs.replace(config.turn, listens_to_ends=False))
    logs.configure(config.server.log_format, verbose=options.verbose)
    keys = load_keys(config.access)
    check_exposure(config, keys)
    tls_context(config.server)
    try:
        check_address(config.server)
        parts = build.load(config, build.open_store(config), Progress(sys.stderr))
        memory.settle()
        host = EngineHost(config, parts, keys=keys)
        try:
            asyncio.run(host.run(_announce))
        finally:
            parts.close()
    except OSError as error:
        print(f"duplex: cannot start: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``HOST`` or ``:PORT``.

    Raises:
        ConfigError: it is none.
    """
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(_PORT)
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen: {text!r} is not of the form HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _announce(url: str) -> None:
    sys.stdout.write(f"ready: {url}\n")
    sys.stdout.flush()
