"""`duplex demo`: a spoken conversation with a server of its own, from nothing but text."""

import asyncio
from pathlib import Path

from client.bench.questions import load_questions, record
from client.bench.server_process import serving
from client.realtime import SAMPLE_RATE_HZ, ClientError, SessionOptions
from client.talk import TalkOptions, talk
from duplex.audio.files import write_wav
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config


def demo(config: Config, server_arguments: list[str], out: Path) -> int:
    """Speak the demo's turns to a fresh server; leaves the recordings, what was heard and a
    picture in ``out``. Returns an exit code."""
    out.mkdir(parents=True, exist_ok=True)
    speak = speaker(config)
    files = []
    for question in load_questions().dialogue:
        path = out / f"{question.id}.wav"
        write_wav(path, record(question, speak).samples, SAMPLE_RATE_HZ)
        files.append(path)
    try:
        return asyncio.run(_hold(server_command(server_arguments), files, out))
    except ClientError as error:
        print(f"error: {error}")
        return 1


async def _hold(command: list[str], files: list[Path], out: Path) -> int:
    async with serving(command) as server:
        print(f"server ready after {server.ready_s:.1f} s")
        return await talk(
            TalkOptions(
                url=server.url,
                files=files,
                save=out / "heard.wav",
                timeline=out / "timeline.svg",
                session=SessionOptions(duplex=True),
            )
        )
