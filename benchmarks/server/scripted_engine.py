"""An engine whose models cost nothing, as a process of its own, for servers with
``engine.kind = "remote"``.

    python -m benchmarks.server.scripted_engine [SECTION.KEY=VALUE ...] [--at-once]

With ``--at-once`` it takes no time either.
"""

import asyncio
import sys
from collections.abc import Sequence

from benchmarks.server.scripted import ANSWER, SCRIPT, ForgetfulEngine
from duplex import logs
from duplex.app.engine_host import EngineHost
from duplex.config import load_config
from duplex.dialogue.parts import Parts
from duplex.protocol.session_config import SessionConfig
from duplex.server import memory
from duplex.testing.engine import Script
from duplex.testing.turns import LoudnessVad
from duplex.testing.voice import ScriptedVoice
from duplex.toml_file import parse_assignment
from engine.worker import Worker

AT_ONCE = Script(hears=SCRIPT.hears, says=(ANSWER,), ear_s=0, piece_s=0)


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    given = [text for text in arguments if text != "--at-once"]
    config = load_config(None, {"server.port": 0, **dict(map(parse_assignment, given))})
    logs.configure(config.server.log_format, verbose=False)
    engine = ForgetfulEngine(AT_ONCE if "--at-once" in arguments else SCRIPT)
    parts = Parts(engine, LoudnessVad(), ScriptedVoice(), Worker("voice"), SessionConfig())
    memory.settle()
    try:
        asyncio.run(EngineHost(config, parts).run(lambda url: print(url, flush=True)))
    finally:
        parts.close()


if __name__ == "__main__":
    main(sys.argv[1:])
