"""A server of scripted models for stock clients: run it, read its addresses, close its input.

Each scenario has an address of its own, because what the ear hears is written beforehand. What
the brain says follows from what it is shown, so a reply that was begun early and dropped, or one
that a client asks for at its start, changes nothing for the others.

The first line printed is a JSON object: scenario -> ws:// address, and the "key" that callers
need. It ends with its input.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from duplex.app.server import DialogueServer, address
from duplex.config import Config, LimitsConfig, ServerConfig
from duplex.dialogue.parts import Parts
from duplex.protocol.session_config import SessionConfig
from duplex.server.keys import load_keys
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession
from duplex.testing.turns import LoudnessVad, PatientJudge
from duplex.testing.voice import ScriptedVoice
from engine.types import (
    CallArguments,
    CallEnded,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    Speech,
)
from engine.worker import Worker

KEY = "what-stock-clients-have"
HEARD: Mapping[str, Sequence[str]] = {  # turn by turn; the last repeats
    "talk": ("What time is it?",),
    "story": ("Tell me a story.", "What time is it?"),
    "present": ("I want to buy a present for you.", "I want to buy a present for my brother."),
    "weather": ("How is the weather in Paris?",),
}
GREETING = ("Hello there. ", "How can I help you?")
TIME = ("It is ten. ", "Time for tea.")
WEATHER = ("It is sunny ", "in Paris.")
UNKNOWN = ("I cannot say.",)
STORY = tuple(f"This is sentence {n} of it. " for n in range(60))


class ScenarioSession(ScriptedSession):
    """Answers what the last message asks for."""

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        answer = answer_to(history)
        for piece in answer:
            await asyncio.sleep(0.005)
            yield piece
        yield Finished("stop", input_tokens=10, cached_tokens=8, output_tokens=len(answer))


class ScenarioEngine(ScriptedEngine):
    """Opens sessions that answer what they are asked."""

    def open(self) -> ScriptedSession:
        return ScenarioSession(self.script)


def answer_to(history: Sequence[Message]) -> Sequence[Piece]:
    """What is said to a conversation."""
    last = history[-1] if history else Message("system", "")
    if last.role == "tool":
        sunny = "sunny" in last.results[-1].output
        return [Speech(text) for text in (WEATHER if sunny else UNKNOWN)]
    if last.role != "user":
        return [Speech(text) for text in GREETING]
    if "weather" in last.text and history[0].tools:
        name = history[0].tools[0].name
        arguments = ('{"city"', ': "Paris"}')
        return [CallStarted(name), *(CallArguments(text) for text in arguments), CallEnded()]
    if "story" in last.text:
        return [Speech(text) for text in STORY]
    return [Speech(text) for text in TIME]


@contextlib.asynccontextmanager
async def serving(scenario: str) -> AsyncIterator[str]:
    """Serve one scenario; gives its address."""
    worker = Worker("voice")
    parts = Parts(
        engine=ScenarioEngine(Script(hears=HEARD[scenario], ear_s=0.005)),
        vad=LoudnessVad(),
        voice=ScriptedVoice(),
        voice_steps=worker,
        defaults=SessionConfig(instructions="Be brief."),
        open_judge=PatientJudge,
    )
    config = Config(
        server=ServerConfig(port=0, max_calls=16),
        limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
    )
    keys = load_keys(config.access, {config.access.key_env: KEY})
    try:
        async with DialogueServer(config, parts, keys=keys).listen() as server:
            yield address(server)
    finally:
        worker.close()


async def main() -> None:
    """Serve all scenarios until the input ends."""
    async with contextlib.AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(serving(name)) for name in HEARD}
        print(json.dumps({**urls, "key": KEY}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
