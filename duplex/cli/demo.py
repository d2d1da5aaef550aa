"""`duplex demo`: a spoken conversation with a server of its own, from nothing but text."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from duplex.cli.options import add_command, add_model_options, config_of, server_arguments


def add(commands: Any) -> None:
    """Add the command."""
    summary = "Start a server and hold a three-turn spoken conversation with it."
    parser = add_command(commands, "demo", demo, summary)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        metavar="DIR",
        help="where recordings and the timeline go (default out/demo)",
    )
    add_model_options(parser)


def demo(options: argparse.Namespace) -> int:
    """Speak the demo's turns to a fresh server; leaves the recordings, what was heard and a
    picture in ``--out``. Returns the exit code."""
    from client.bench.questions import load_questions, record
    from client.realtime import SAMPLE_RATE_HZ, ClientError
    from duplex.audio.files import write_wav
    from duplex.cli.recordings import make_folder, own_key, server_command, speaker

    out: Path = options.out
    make_folder(out)
    config = config_of(options)
    speak = speaker(config)
    files = []
    for question in load_questions().dialogue:
        path = out / f"{question.id}.wav"
        write_wav(path, record(question, speak).samples, SAMPLE_RATE_HZ)
        files.append(path)
    try:
        command = server_command(server_arguments(options))
        return asyncio.run(_hold(command, files, out, own_key(config)))
    except ClientError as error:
        print(f"error: {error}")
        return 1


async def _hold(command: list[str], files: list[Path], out: Path, key: str | None) -> int:
    from client.bench.server_process import serving
    from client.realtime import SessionOptions
    from client.talk import TalkOptions, talk

    async with serving(command) as server:
        print(f"server ready after {server.ready_s:.1f} s")
        return await talk(
            TalkOptions(
                url=server.url,
                files=files,
                save=out / "heard.wav",
                timeline=out / "timeline.svg",
                key=key,
                session=SessionOptions(duplex=True),
            )
        )
