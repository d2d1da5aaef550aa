"""The command ``duplex``: arguments in, exit code out."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from duplex import logs
from duplex.app import build
from duplex.cli import bench_options as bench_command
from duplex.cli import say
from duplex.config import Config, load, parse_assignment
from duplex.errors import ConfigError, DuplexError
from duplex.model_store import Progress, render_status

DEFAULT_URL = "ws://127.0.0.1:8765/v1/realtime"
EPILOG = "duplex.example.toml shows every option of the configuration file with its default."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors a user can act on are printed as one line."""
    options = _parser().parse_args(arguments)
    logs.configure("text", verbose=options.verbose)
    try:
        return int(options.command(options))
    except DuplexError as error:
        print(f"duplex: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duplex",
        description="Realtime speech conversation: an open server, its client and its bench.",
        epilog=EPILOG,
    )
    parser.add_argument("--verbose", action="store_true", help="log every chunk")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_talk(commands)
    _add_demo(commands)
    _add_models(commands)
    _add_bench(commands)
    say.add_parser(commands)
    return parser


def _command(commands: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=run)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
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


def _config(options: argparse.Namespace) -> Config:
    return load(
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


def _add_serve(commands: Any) -> None:
    parser = _command(commands, "serve", _serve, "Serve calls until interrupted.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8765; 0: any free)")
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="serve others than this machine without a key",
    )
    _add_model_options(parser)


def _serve(options: argparse.Namespace) -> int:
    from duplex.app.server import Server
    from duplex.phone.sip import admission as sip_admission
    from duplex.server import memory
    from duplex.server.keys import check_exposure, load_keys

    config = _config(options)
    logs.configure(config.server.log_format, verbose=options.verbose)
    keys = load_keys(config.access)
    check_exposure(config, keys)  # before minutes of loading
    sip_admission.check(config)
    parts = build.load(config, build.open_store(config), Progress(sys.stderr))
    memory.settle()
    server = Server(config, parts, keys=keys)
    try:
        asyncio.run(server.run(_tell_ready))
    except OSError as error:
        print(f"duplex: cannot listen: {error}", file=sys.stderr)
        return 1
    finally:
        parts.close()
    return 0


def _tell_ready(url: str) -> None:
    parts = urlsplit(url)
    page = f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}/"
    print(f"ready: {url}\ntalk to it at {page} or with `duplex talk`", flush=True)


def _add_talk(commands: Any) -> None:
    summary = "Talk to a server with microphone and loudspeaker, or play recordings to it."
    parser = _command(commands, "talk", _talk, summary)
    parser.add_argument("--url", default=DEFAULT_URL, help=f"server (default {DEFAULT_URL})")
    parser.add_argument("--key", help="API key, for servers that want one")
    parser.add_argument(
        "--foreign",
        action="store_true",
        help="the server is not of this project: ask it for nothing special",
    )
    parser.add_argument("--thoughts", action="store_true", help="show the model's reasoning")
    live = parser.add_argument_group("with the microphone")
    live.add_argument("--devices", action="store_true", help="list the sound devices and stop")
    live.add_argument("--input", metavar="DEVICE", help="microphone: number or part of its name")
    live.add_argument("--output", metavar="DEVICE", help="loudspeaker: number or part of its name")
    live.add_argument("--push-to-talk", action="store_true", help="speak only while a key says so")
    live.add_argument(
        "--echo-guard",
        choices=["auto", "on", "off"],
        default="auto",
        help="keep the loudspeaker out of the microphone (default auto: where it is installed)",
    )
    played = parser.add_argument_group("with recordings, one turn each")
    played.add_argument(
        "--file",
        type=Path,
        action="append",
        metavar="WAV",
        help="a recording; give it again for the next turn",
    )
    played.add_argument("--save", type=Path, metavar="WAV", help="write what was heard")
    played.add_argument("--timeline", type=Path, metavar="SVG", help="draw the call")


def _talk(options: argparse.Namespace) -> int:
    from client.realtime import SessionOptions
    from client.talk import TalkOptions, talk

    session = SessionOptions(duplex=not options.foreign, thoughts=options.thoughts)
    if not options.file:
        return _talk_live(options, session)
    wanted = TalkOptions(
        url=options.url,
        files=options.file,
        save=options.save,
        timeline=options.timeline,
        key=options.key,
        session=session,
    )
    return asyncio.run(talk(wanted))


def _talk_live(options: argparse.Namespace, session: Any) -> int:
    from dataclasses import replace

    from client.live.terminal import LiveOptions, list_devices, live_talk

    if options.devices:
        return list_devices()
    if options.save or options.timeline:
        raise ConfigError("--save and --timeline go with --file")
    wanted = LiveOptions(
        url=options.url,
        key=options.key,
        session=replace(session, manual_turns=options.push_to_talk, resume=True),
        input=options.input,
        output=options.output,
        push_to_talk=options.push_to_talk,
        echo_guard=options.echo_guard,
    )
    return asyncio.run(live_talk(wanted))


def _add_demo(commands: Any) -> None:
    summary = "Start a server and hold a three-turn spoken conversation with it."
    parser = _command(commands, "demo", _demo, summary)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        metavar="DIR",
        help="where recordings and the timeline go (default out/demo)",
    )
    _add_model_options(parser)


def _demo(options: argparse.Namespace) -> int:
    from duplex.cli.demo import demo

    return demo(_config(options), _server_arguments(options), options.out)


def _server_arguments(options: argparse.Namespace) -> list[str]:
    """The options that a server started by this command is given too."""
    arguments = []
    for name in ("config", "ear", "brain", "model", "thinking"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name}", str(value)]
    for text in options.set:
        arguments += ["--set", text]
    return arguments


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", _models, "Show, fetch or check the models.")
    parser.add_argument("--install", action="store_true", help="fetch and convert what is missing")
    parser.add_argument("--verify", action="store_true", help="read every file and check its hash")
    _add_model_options(parser)


def _models(options: argparse.Namespace) -> int:
    config = _config(options)
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


def _add_bench(commands: Any) -> None:
    parser = _command(commands, "bench", _bench, bench_command.SUMMARY)
    bench_command.add_arguments(parser)
    _add_model_options(parser)


def _bench(options: argparse.Namespace) -> int:
    from duplex.cli.bench import USAGE, benchmark, self_test

    if options.list_metrics:
        print("\n".join(bench_command.metric_lines()))
        return 0
    if options.self_test:
        return self_test()
    try:
        wanted = bench_command.wanted(options)
        if options.url is not None:
            options.model = None  # it named the server's model, not one of ours
        return benchmark(_config(options), _server_arguments(options), wanted)
    except ConfigError as error:
        print(f"duplex: {error}", file=sys.stderr)
        return USAGE
