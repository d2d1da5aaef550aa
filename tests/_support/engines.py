"""Engines behind a socket: in this process for a test's own engine, or as a process to be killed.

python -m tests._support.engines [SECTION.KEY=VALUE ...]
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from duplex.app.engine_host import EngineHost
from duplex.config import Config, ServerConfig, load_config
from duplex.dialogue.interfaces import Engine
from duplex.dialogue.parts import Parts
from duplex.protocol.session_config import SessionConfig
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from duplex.testing import LoudnessVad, ScriptedVoice
from duplex.testing.steps import TimedSteps
from duplex.toml_file import parse_assignment
from engine.brain.interface import BrainError
from engine.embedded import EmbeddedEngine
from engine.remote_engine.engine import RemoteEngine
from engine.types import Finished, GenerationOptions, Message
from tests._support.stores import free_port
from tts.types import Voice

RATE = 16_000
NO_KEYS = Keys({}, Principal("", Allowance(), may_read_metrics=True))
MANY = Config(server=ServerConfig(port=0, max_calls=64))


class LoudEar:
    """Hears one word in each second: how loud it is, in hundredths."""

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        starts = range(0, len(pcm) - RATE + 1, RATE)
        return " ".join(f"w{round(float(pcm[start]) * 100)}" for start in starts)


@dataclass
class EchoBrain:
    """Says what was said to it, a word a piece, each after ``piece_s``; fails at the word "fail".
    A brain and its sessions in one."""

    piece_s: float = 0.0
    context_tokens: int = 4096
    made: int = 0  # pieces, ever
    closed: int = 0  # answers closed before their end
    prefilled: list[int] = field(default_factory=list)  # messages of each

    def open(self) -> "EchoBrain":
        return self

    def close(self) -> None: ...

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        self.prefilled.append(len(messages))

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        words = " | ".join(message.text for message in messages).split()[-options.max_tokens :]
        done = False
        try:
            for word in words:
                await asyncio.sleep(self.piece_s)
                if word == "fail":
                    raise BrainError("the brain is told to fail")
                self.made += 1
                yield f"{word} "
            yield Finished("stop", len(messages), 0, len(words))
            done = True
        finally:
            self.closed += not done


def echo_engine(brain: EchoBrain | None = None) -> EmbeddedEngine:
    """An embedded engine without models."""
    return EmbeddedEngine(LoudEar(), brain or EchoBrain())


def parts_of(engine: Engine, voice: Voice | None = None) -> Parts:
    """Parts of an engine's process."""
    return Parts(
        engine=engine,
        vad=LoudnessVad(),
        voice=voice or ScriptedVoice(),
        voice_steps=TimedSteps(),
        defaults=SessionConfig(model="the-engine's", instructions="Be brief."),
    )


@contextlib.asynccontextmanager
async def hosted(
    engine: Engine, config: Config = MANY, keys: Keys = NO_KEYS, voice: Voice | None = None
) -> AsyncIterator[tuple[EngineHost, str]]:
    """Serve ``engine`` over a socket of this process; gives the address."""
    host = EngineHost(config, parts_of(engine, voice), keys=keys)
    async with host.listen() as listening:
        yield host, host.address(listening)


@contextlib.asynccontextmanager
async def remote_of(engine: Engine) -> AsyncIterator[RemoteEngine]:
    """``engine``, over a socket."""
    async with hosted(engine) as (_, url):
        remote = RemoteEngine([url])
        async with remote.in_touch():
            yield remote


@dataclass
class EngineProcess:
    """An engine in a process of its own."""

    port: int
    arguments: Sequence[str] = ()
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, again if it was killed, and wait until it listens."""
        command = [sys.executable, "-m", "tests._support.engines", f"server.port={self.port}"]
        self.process = await asyncio.create_subprocess_exec(
            *command, *self.arguments, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert b"ready" in await self.process.stdout.readline()

    async def kill(self) -> None:
        """As an operator with no patience."""
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None


@contextlib.asynccontextmanager
async def engine_processes(count: int, *arguments: str) -> AsyncIterator[list[EngineProcess]]:
    """Run so many, until the block ends."""
    engines = [EngineProcess(free_port(), arguments) for _ in range(count)]
    try:
        for engine in engines:
            await engine.start()
        yield engines
    finally:
        for engine in engines:
            await engine.kill()


async def all_of(generator: AsyncGenerator) -> list:
    """Everything that it yields."""
    async with aclosing(generator) as items:
        return [item async for item in items]


def _main(arguments: Sequence[str]) -> None:
    """Serve an echo, with 50 ms a word."""
    config = load_config(None, dict(parse_assignment(text) for text in arguments))
    parts = parts_of(echo_engine(EchoBrain(piece_s=0.05)))
    host = EngineHost(config, parts)
    asyncio.run(host.run(lambda url: print("ready:", url, flush=True)))
    parts.close()


if __name__ == "__main__":
    _main(sys.argv[1:])
