"""A real server on a free port of this machine, with scripted models behind it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from duplex.app.server import DialogueServer, address
from duplex.config import Config, ServerConfig
from duplex.dialogue.parts import Parts
from duplex.protocol.session_config import SessionConfig
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from duplex.testing.engine import Script, ScriptedEngine
from duplex.testing.turns import LoudnessVad, PatientJudge
from duplex.testing.voice import ScriptedVoice
from engine.worker import Worker
from tts.types import Voice

FAST = Script(ear_s=0.001, piece_s=0.001)
NO_KEYS = Keys({}, Principal("", Allowance(), may_read_metrics=True))


@dataclass(frozen=True, slots=True)
class Running:
    """``http`` is where plain requests go, without a slash at its end."""

    url: str
    http: str
    engine: ScriptedEngine
    server: DialogueServer


@contextlib.asynccontextmanager
async def running_server(
    config: Config,
    script: Script = FAST,
    keys: Keys = NO_KEYS,
    *,
    engine: ScriptedEngine | None = None,
    engines: Mapping[str, ScriptedEngine] | None = None,
    voices: Mapping[str, Voice] | None = None,
    refuses_when_late: bool = False,
) -> AsyncIterator[Running]:
    """Serve until the block ends; ``engine`` is in place of one of ``script``, ``engines`` and
    ``voices`` are others to choose from. On a busy machine the event loop may be late, which is a
    reason to refuse a call only if it is tested."""
    if not refuses_when_late:
        config = replace(config, limits=replace(config.limits, refuse_lag_ms=0, refuse_stage_ms=0))
    engine = engine or ScriptedEngine(script)
    worker = Worker("voice")
    parts = Parts(
        engine=engine,
        vad=LoudnessVad(),
        voice=ScriptedVoice(),
        voice_steps=worker,
        defaults=SessionConfig(instructions="Be brief."),
        open_judge=PatientJudge,
        engines=engines or {},
        voices=voices or {},
    )
    try:
        server = DialogueServer(config, parts, keys=keys)
        async with server.listen() as listening:
            url = address(listening, "wss" if config.server.tls_certificate else "ws")
            http = url.replace("ws", "http", 1).removesuffix("/v1/realtime")
            yield Running(url, http, engine, server)
    finally:
        worker.close()


@contextlib.asynccontextmanager
async def scripted_server(
    script: Script = FAST, **options: float
) -> AsyncIterator[tuple[str, ScriptedEngine]]:
    """Serve until the block ends; gives the URL and the engine."""
    config = Config(server=ServerConfig(port=0, **options))  # type: ignore[arg-type]
    async with running_server(config, script) as running:
        yield running.url, running.engine
