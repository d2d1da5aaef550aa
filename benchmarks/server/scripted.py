"""A server whose models cost nothing, as a process: all that is measured is the server.

    python -m benchmarks.server.scripted [SECTION.KEY=VALUE ...]

With ``engine.kind = "remote"`` the ear and the brain are `benchmarks.server.scripted_engine`.

The detector of speech is the real one, which runs in the event loop; the ear, the brain and the
voice take their time without using any.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from duplex import logs
from duplex.app import build
from duplex.app.build import VAD
from duplex.app.build_elsewhere import load_elsewhere
from duplex.app.server import DialogueServer
from duplex.config import load_config
from duplex.dialogue.parts import Parts
from duplex.model_store import Progress
from duplex.protocol.session_config import SessionConfig
from duplex.server import memory
from duplex.testing.engine import Script, ScriptedSession
from duplex.testing.voice import ScriptedVoice
from duplex.toml_file import parse_assignment
from duplex.turns.vad import SileroVad
from engine.types import Speech
from engine.worker import Worker

WORDS = ("It ", "is ", "half ", "past ", "ten, ", "and ", "the ", "shops ", "are ", "open. ")
ANSWER = tuple(map(Speech, WORDS))
SCRIPT = Script(hears=("What time is it?",), says=(ANSWER,), ear_s=0.1, piece_s=0.03)


@dataclass(slots=True)
class ForgetfulEngine:
    """Like `duplex.testing.engine.ScriptedEngine`, but it forgets its sessions."""

    script: Script = field(default_factory=lambda: SCRIPT)

    def open(self) -> ScriptedSession:
        return ScriptedSession(self.script)

    def close(self) -> None:
        """Nothing is held."""


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    config = load_config(
        None, {"server.port": 0, **dict(parse_assignment(text) for text in arguments)}
    )
    logs.configure(config.server.log_format, verbose=False)
    store = build.open_store(config)
    store.ensure([VAD], Progress(sys.stderr))
    worker = Worker("voice")
    engine = load_elsewhere(config.engine) if config.engine.urls else ForgetfulEngine()
    parts = Parts(
        engine=engine,
        vad=SileroVad(store.path(VAD) / "silero_vad.onnx"),
        voice=ScriptedVoice(),
        voice_steps=worker,
        defaults=SessionConfig(),
    )
    memory.settle()
    try:
        asyncio.run(DialogueServer(config, parts).run(lambda url: print(url, flush=True)))
    finally:
        worker.close()


if __name__ == "__main__":
    main(sys.argv[1:])
