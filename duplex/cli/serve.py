"""`duplex serve`: a server until it is interrupted."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from duplex import logs
from duplex.cli.options import add_command, add_model_options, config_of

if TYPE_CHECKING:
    from duplex.app.embed import Running
    from duplex.config import Config

_NOTES = {
    "yes": "",
    "this_machine": "No other device reaches this: serve with --host 0.0.0.0, and a key.\n",
    "no_microphone": "Browsers give it no microphone over http: it needs server.tls_certificate, "
    "or a proxy with https.\n",
}


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
    parser.add_argument(
        "--qr", action="store_true", help="print a QR code of the page's address, for a phone"
    )
    add_model_options(parser)


def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit code."""
    from duplex.app.embed import Server, announce

    config = config_of(options)
    logs.configure(config.server.log_format, verbose=options.verbose)
    server = Server(config)
    try:
        server.load()
        server.run(partial(announce_with_code, config=config) if options.qr else announce)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"duplex: cannot start: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    return 0


def announce_with_code(running: "Running", config: "Config") -> None:
    """Write to standard output where the server is, and a QR code of that for a phone."""
    from duplex.app.embed import announce
    from duplex.server.share import in_terminal, shared

    announce(running)
    page = shared(running.page.removesuffix("/") + f"{config.server.root()}/", config.server)
    sys.stdout.write(f"{in_terminal(page.address)}\n{page.address}\n{_NOTES[page.works]}")
    sys.stdout.flush()
