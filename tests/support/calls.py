"""A call with scripted models, in virtual time: what the dialogue tests are written with."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
from virtual_time import VirtualTimeLoop

from duplex.audio.formats import Samples, encode_pcm16
from duplex.config import Config
from duplex.dialogue.outbox import Outbox
from duplex.dialogue.parts import Parts
from duplex.dialogue.session import Session
from duplex.metrics import Metrics
from duplex.protocol.ids import counting_ids
from duplex.protocol.session_config import SessionConfig
from duplex.testing.engine import FakeEngine, Script
from duplex.testing.voice import FakeVoice
from duplex.turns.vad import FRAME_SAMPLES, VadFrame
from engine.worker import Priority

T = TypeVar("T")
CHUNK_S = 0.02


def virtual(test: Coroutine[Any, Any, T]) -> T:
    """Run ``test`` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(test)


class LoudnessVad:
    """Stands in for silero: a frame is speech if it is loud."""

    def open(self) -> "LoudnessVad":
        return LoudnessVad()

    def __init__(self) -> None:
        self._at = 0

    def feed(self, samples: Samples) -> list[VadFrame]:
        assert len(samples) == FRAME_SAMPLES
        loud = float(np.abs(samples).mean()) > 0.01
        frame = VadFrame(self._at, 0.9 if loud else 0.05)
        self._at += FRAME_SAMPLES
        return [frame]


class PatientJudge:
    """Stands in for the judge of interruptions: ``PROOF_MS`` of speech at a stretch is one."""

    PROOF_MS = 160

    def __init__(self, _config: object) -> None:
        self._speech_ms = 0

    def learn(self, samples: Samples, probability: float) -> None:
        assert len(samples) == FRAME_SAMPLES

    def hear(self, samples: Samples, probability: float, answer: Samples | None) -> bool:
        assert len(samples) == FRAME_SAMPLES
        assert answer is None or len(answer) == FRAME_SAMPLES
        self._speech_ms = self._speech_ms + 32 if probability > 0.5 else 0
        return self._speech_ms >= self.PROOF_MS

    @property
    def heard_caller(self) -> bool:
        return True

    @property
    def sounds_false(self) -> float | None:
        return None

    def reset(self) -> None:
        self._speech_ms = 0


class TimedSteps:
    """Stands in for the worker thread: each step takes ``step_s`` of the loop's time."""

    def __init__(self, step_s: float = 0.02) -> None:
        self._step_s = step_s

    async def run(self, function: Callable[[], T], priority: Priority = Priority.REPLY) -> T:
        await asyncio.sleep(self._step_s)
        return function()

    async def stream(
        self, iterator: Iterator[T], priority: Priority | Callable[[], Priority] = Priority.REPLY
    ) -> AsyncGenerator[T, None]:
        for item in iterator:
            await asyncio.sleep(self._step_s)
            yield item


class Caller:
    """A client of one session: sends events and audio, and keeps what comes back."""

    def __init__(self, script: Script | None = None, config: Config | None = None) -> None:
        self.config = config or Config()
        self.engine = FakeEngine(script or Script())
        self.parts = Parts(
            engine=self.engine,
            vad=LoudnessVad(),
            voice=FakeVoice(),
            voice_steps=TimedSteps(),
            defaults=SessionConfig(instructions="Be brief."),
            open_judge=PatientJudge,
        )
        self.outbox = Outbox(self.config.server.max_outbox_bytes)
        self.metrics = Metrics()
        self.events: list[dict[str, Any]] = []
        self.times_s: list[float] = []  # when each event came
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    @property
    def heard_by_brain(self) -> list[list[tuple[str, str]]]:
        """The histories that were answered, as (role, text)."""
        (session,) = self.engine.sessions
        return [[(m.role, m.text) for m in history] for history in session.histories]

    async def __aenter__(self) -> "Caller":
        loop = asyncio.get_running_loop()
        session = Session(
            "call-1",
            self.config,
            self.parts,
            self.outbox,
            clock=loop.time,
            new_id=counting_ids(),
            metrics=self.metrics,
        )
        self._session = asyncio.create_task(session.run(self._messages()))
        self._reader = asyncio.create_task(self._read())
        await asyncio.sleep(0.001)
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._inbox.put_nowait(None)
        try:
            await self._session
        finally:
            self.outbox.close()
            await asyncio.wait([self._reader])

    def send(self, kind: str, **fields: Any) -> None:
        """Send a client event."""
        self._inbox.put_nowait(json.dumps({"type": kind, **fields}))

    def send_raw(self, message: str | bytes) -> None:
        """Send what may not be an event."""
        self._inbox.put_nowait(message)

    def stop_reading(self) -> None:
        """Take nothing more of what the server sends."""
        self._reader.cancel()

    async def speak(self, seconds: float) -> None:
        """Send loud audio at real-time pace."""
        await self._play(seconds, 0.3)

    async def pause(self, seconds: float) -> None:
        """Send silence at real-time pace."""
        await self._play(seconds, 0.0)

    def append(self, seconds: float, level: float = 0.3) -> None:
        """Send audio at once."""
        tone = level * np.sin(2 * np.pi * 300 / 24_000 * np.arange(round(seconds * 24_000)))
        audio = base64.b64encode(encode_pcm16(tone)).decode()
        self.send("input_audio_buffer.append", audio=audio)

    def kinds(self, *without: str) -> list[str]:
        """The types of the events so far, leaving out some."""
        return [event["type"] for event in self.events if event["type"] not in without]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type so far."""
        return [event for event in self.events if event["type"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """The only event of a type."""
        (event,) = self.all(kind)
        return event

    @property
    def now_s(self) -> float:
        """The time, in virtual seconds."""
        return asyncio.get_running_loop().time()

    def time_of(self, kind: str) -> float:
        """When the first event of a type came, in virtual seconds."""
        return self.times_s[self.kinds().index(kind)]

    async def _play(self, seconds: float, level: float) -> None:
        for _ in range(round(seconds / CHUNK_S)):
            self.append(CHUNK_S, level)
            await asyncio.sleep(CHUNK_S)

    async def _messages(self) -> AsyncGenerator[str | bytes, None]:
        while (message := await self._inbox.get()) is not None:
            yield message

    async def _read(self) -> None:
        async for message in self.outbox.messages():
            self.events.append(json.loads(message))
            self.times_s.append(asyncio.get_running_loop().time())
