"""A real server on a free port of this machine, with scripted models behind it."""

import contextlib
from collections.abc import AsyncIterator

from calls import LoudnessVad

from duplex.call import Parts
from duplex.config import Config, ServerConfig
from duplex.protocol.session_config import SessionConfig
from duplex.server import DialogueServer, address
from engine.fake import FakeEngine, Script
from engine.worker import Worker
from tts.fake import FakeVoice

FAST = Script(ear_s=0.001, piece_s=0.001)


@contextlib.asynccontextmanager
async def scripted_server(
    script: Script = FAST, **options: float
) -> AsyncIterator[tuple[str, FakeEngine]]:
    """Serve until the block ends; gives the URL and the engine."""
    engine = FakeEngine(script)
    worker = Worker("voice")
    parts = Parts(
        engine=engine,
        vad=LoudnessVad(),  # type: ignore[arg-type]
        voice=FakeVoice(),
        voice_steps=worker,
        defaults=SessionConfig(instructions="Be brief."),
    )
    config = Config(server=ServerConfig(port=0, **options))  # type: ignore[arg-type]
    try:
        async with DialogueServer(config, parts).listen() as server:
            yield address(server), engine
    finally:
        worker.close()
