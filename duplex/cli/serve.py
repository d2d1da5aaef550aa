"""`duplex serve`: a server until it is interrupted."""

import argparse
import sys
from typing import Any

from duplex import logs
from duplex.cli.options import add_command, add_model_options, config_of


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", serve, "Serve calls until interrupted.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8765; 0: any free)")
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="serve others than this machine without a key",
    )
    add_model_options(parser)


def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit code."""
    from duplex.app.embed import Server

    config = config_of(options)
    logs.configure(config.server.log_format, verbose=options.verbose)
    server = Server(config)
    try:
        server.load()
        server.run()
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"duplex: cannot start: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    return 0
