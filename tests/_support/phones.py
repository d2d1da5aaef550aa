"""A call of Twilio's with scripted models, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosedOK

from client.telephone.channel import FRAME_MS, LINE_HZ
from client.telephone.twilio import TwilioEnd
from duplex.config import AssistantConfig, Config, PhoneConfig
from duplex.dialogue.observers import Observe
from duplex.dialogue.parts import Parts
from duplex.metrics import Metrics
from duplex.phone.calls import PhoneCalls
from duplex.phone.line.leg import Switchboard
from duplex.phone.providers.twilio import TwilioCodec
from duplex.protocol.session_config import SessionConfig
from duplex.server.keys import Principal
from duplex.server.load import Load
from duplex.server.places import Errands, Places
from duplex.server.quota import Allowance
from duplex.server.registry import CallRegistry
from duplex.server.store import MemoryStore
from duplex.testing.engine import Script, ScriptedEngine
from duplex.testing.steps import TimedSteps
from duplex.testing.turns import LoudnessVad, PatientJudge
from duplex.testing.voice import ScriptedVoice
from engine.types import CallArguments, CallEnded, CallStarted, Piece, Speech

GREETING = "Hello, this is the bakery."


class Wire:
    """The server's side of a connection to a `TwilioEnd`, without a network."""

    was_dropped = False

    def __init__(self, end: TwilioEnd) -> None:
        self.close_code: int | None = None
        self._end = end
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self._closed = asyncio.Event()

    def put(self, *messages: str) -> None:
        for message in messages:
            self._inbox.put_nowait(message)

    async def recv(self) -> str | bytes:
        message = None if self._closed.is_set() else await self._inbox.get()
        if message is None:
            raise ConnectionClosedOK(None, None)
        return message

    async def send(self, message: str | bytes) -> None:
        if self._closed.is_set():
            raise ConnectionClosedOK(None, None)
        self._end.receive(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self.close_code is None:
            self.close_code = code
        self._closed.set()
        self._inbox.put_nowait(None)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def abort(self) -> None:
        self.close_code = 1006
        self._closed.set()
        self._inbox.put_nowait(None)


class Phone:
    """A caller. Loud tones are speech."""

    def __init__(
        self, end: TwilioEnd, wire: Wire, engine: ScriptedEngine, metrics: Metrics
    ) -> None:
        self.end = end
        self.wire = wire
        self.engine = engine
        self.metrics = metrics
        self._heard_ms = 0.0  # in so many samples
        self._counted = 0

    @property
    def histories(self) -> list[list[tuple[str, str]]]:
        """What was answered, as (role, text), without the instructions."""
        (session,) = self.engine.sessions
        return [[(m.role, m.text) for m in history[1:]] for history in session.histories]

    @property
    def is_over(self) -> bool:
        return self.wire.close_code is not None

    @property
    def now_ms(self) -> int:
        return self.end.position * 1000 // LINE_HZ

    async def wait(self, seconds: float) -> None:
        """Hold the line."""
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            self.wire.put(*self.end.tick())
            await asyncio.sleep(FRAME_MS / 1000)

    async def until(self, condition: Callable[[], object], limit_s: float = 60) -> None:
        """Hold the line until something is so."""
        start = self.end.position
        while not condition():
            assert self.end.position - start < limit_s * LINE_HZ, "it did not become so"
            await self.wait(FRAME_MS / 1000)

    async def speak(self, seconds: float) -> None:
        self.end.say(loud(seconds))
        await self.wait(seconds)

    async def hear_out(self) -> None:
        """Wait for more speech and for its end."""
        before_ms = self.heard_ms
        await self.until(lambda: self.heard_ms > before_ms)
        await self.until(lambda: self.quiet_ms > 500)

    @property
    def quiet_ms(self) -> float:
        """How long nothing has been heard by now."""
        window = self.end.heard(-2 * LINE_HZ)
        audible = np.flatnonzero(np.abs(window) > 0.05)
        samples = len(window) - int(audible[-1]) if len(audible) else len(window)
        return samples * 1000 / LINE_HZ

    @property
    def heard_ms(self) -> float:
        """How much speech was heard."""
        heard = self.end.heard()
        self._heard_ms += spoken_ms(heard[self._counted :])
        self._counted = len(heard)
        return self._heard_ms


def spoken_ms(heard: NDArray[np.float32]) -> float:
    """How much speech is in whole frames of 8 kHz."""
    frames = np.abs(heard).reshape(-1, LINE_HZ // 100)
    return float((frames.max(axis=1) > 0.05).sum() * 10) if len(frames) else 0.0


def loud(seconds: float) -> NDArray[np.float32]:
    return (0.3 * np.sin(np.arange(round(seconds * LINE_HZ)) * 0.3)).astype(np.float32)


@contextlib.asynccontextmanager
async def calling(
    script: Script | None = None,
    config: Config | None = None,
    parameters: Mapping[str, str] | None = None,
    switchboard: Switchboard | None = None,
    voice: ScriptedVoice | None = None,
    step_s: float = 0.02,
    observe: Sequence[Observe] = (),
) -> AsyncGenerator[Phone, None]:
    """A call that has begun. Each ``step_s`` a piece of 200 ms is spoken."""
    config = config or Config()
    engine, metrics = ScriptedEngine(script or Script()), Metrics()
    parts = Parts(
        engine=engine,
        vad=LoudnessVad(),
        voice=voice or ScriptedVoice(),
        voice_steps=TimedSteps(step_s),
        defaults=SessionConfig(instructions="Be brief."),
        open_judge=PatientJudge,
    )
    places = Places(MemoryStore(), Errands(metrics))
    load = Load(config.limits, metrics)
    calls = CallRegistry(config, parts, metrics, load, places, observe)
    phones = PhoneCalls(config, parts, metrics, calls)
    end = TwilioEnd(parameters=parameters or {})
    wire = Wire(end)
    wire.put(*end.start())
    anybody = Principal("", Allowance())
    call = asyncio.create_task(phones.hold(wire, TwilioCodec(), anybody, "twilio", switchboard))
    try:
        phone = Phone(end, wire, engine, metrics)
        await phone.wait(0.1)
        yield phone
    finally:
        wire.put(*end.stop())
        await wire.close()
        await asyncio.wait([call])
        await asyncio.sleep(1.5)  # the call's own goodbyes
    call.result()
    assert not len(calls)


def bakery(greeting: str = GREETING, phone: PhoneConfig | None = None, **options: object) -> Config:
    assistant = AssistantConfig(greeting=greeting, **options)  # type: ignore[arg-type]
    return Config(assistants={"bakery": assistant}, phone=phone or PhoneConfig(assistant="bakery"))


def function_call(name: str, arguments: str = "{}", *, before: str = "") -> Sequence[Piece]:
    said = [Speech(before)] if before else []
    return [*said, CallStarted(name), CallArguments(arguments), CallEnded()]
