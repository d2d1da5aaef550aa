"""A caller of one session, with scripted models: what tests of a dialogue are written with."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from duplex.app.build import defaults_of
from duplex.app.generation import generation
from duplex.app.plugins import Given, with_plugins
from duplex.audio.formats import encode_pcm16
from duplex.config import Config
from duplex.dialogue.interfaces import Engine
from duplex.dialogue.observers import CallInfo, Observe, observers_of
from duplex.dialogue.outbox import Outbox
from duplex.dialogue.parts import Parts
from duplex.dialogue.session import Session
from duplex.metrics import Metrics
from duplex.protocol.ids import counting_ids
from duplex.testing.engine import Script, ScriptedEngine
from duplex.testing.steps import TimedSteps
from duplex.testing.turns import LoudnessVad, PatientJudge
from duplex.testing.voice import ScriptedVoice
from engine.brain.interface import Brain
from tts.types import Voice

CHUNK_S = 0.02
SAMPLE_RATE_HZ = 24_000
TONE_HZ = 300
TONE_LEVEL = 0.3  # loud enough to be speech, see `LoudnessVad`


@dataclass(frozen=True, slots=True)
class CallerResponse:
    """A response that is over, as the caller was sent it.

    ``status`` is "completed", "cancelled", "incomplete" or "failed"; ``reason`` says why it is
    not completed: "turn_detected" for a barge-in, for one. ``text`` is the transcript of its
    speech.
    """

    id: str
    status: str
    reason: str
    text: str


class Caller:
    """A client of one session: sends events and audio, and keeps what comes back.

    Use it with ``async with`` in virtual time (`in_virtual_time`); leaving the block hangs up.
    ``events`` are the server's, as decoded JSON; ``times_s`` says when each came.
    """

    def __init__(
        self,
        script: Script | None = None,
        config: Config | None = None,
        *,
        brain: Brain | None = None,
        voice: Voice | None = None,
        engine: Engine | None = None,
        observe: Sequence[Observe] = (),
    ) -> None:
        """Without more, ear, brain and voice are scripted, and no model is loaded.

        A ``brain``, ``voice`` or whole ``engine``, or one that ``config`` names as a plug-in,
        takes the place of the scripted one. Ear and voice activity detector stay the script's,
        because the caller speaks in tones; leaving the block closes none that was given.
        ``observe`` are asked whether they observe the call.
        Everything else of ``config`` holds, such as its `[turn]`.

        Raises:
            ConfigError: a plug-in that ``config`` names cannot be used.
            ValueError: both a brain and an engine are given.
        """
        self.config = config or Config()
        given = with_plugins(self.config, Given(brain=brain, voice=voice, engine=engine))
        instructions = self.config.brain.instructions or "Be brief."
        self.engine = ScriptedEngine(script or Script(), given.brain)  # unless one is given
        self.parts = Parts(
            engine=given.engine or self.engine,
            vad=LoudnessVad(),
            voice=given.voice or ScriptedVoice(),
            voice_steps=TimedSteps(),
            defaults=replace(defaults_of(self.config), instructions=instructions),
            generation=generation(self.config),
            open_judge=PatientJudge,
        )
        self.outbox = Outbox(self.config.server.max_outbox_bytes)
        self.metrics = Metrics()
        self._observe = observe
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
        defaults = self.parts.defaults
        info = CallInfo("call-1", loop.time(), "", "testing", "", defaults)
        self._observers = observers_of(info, self._observe, loop.time)
        session = Session(
            "call-1",
            self.config,
            self.parts,
            self.outbox,
            clock=loop.time,
            new_id=counting_ids(),
            metrics=self.metrics,
            observers=self._observers,
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
            self._observers.ended("hung_up")
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
        await self._play(seconds, TONE_LEVEL)

    async def pause(self, seconds: float) -> None:
        """Send silence at real-time pace."""
        await self._play(seconds, 0.0)

    def append(self, seconds: float, level: float = TONE_LEVEL) -> None:
        """Send audio at once."""
        at_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = level * np.sin(2 * np.pi * TONE_HZ * at_s)
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
    def responses(self) -> list[CallerResponse]:
        """The responses that are over, in the order of their ends."""
        return [_response(event["response"]) for event in self.all("response.done")]

    @property
    def last_response(self) -> CallerResponse:
        """The last of `responses`.

        Raises:
            LookupError: none is over yet.
        """
        return self.responses[-1]

    @property
    def heard(self) -> list[str]:
        """What was said to the caller: the text of each response that is over, without what was
        never played because the caller interrupted it."""
        return [response.text for response in self.responses]

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
            assert isinstance(message, str)  # a WebSocket's shape writes JSON
            self.events.append(json.loads(message))
            self.times_s.append(asyncio.get_running_loop().time())


def _response(response: dict[str, Any]) -> CallerResponse:
    contents = [part for item in response["output"] for part in item.get("content", ())]
    return CallerResponse(
        id=response["id"],
        status=response["status"],
        reason=(response.get("status_details") or {}).get("reason", ""),
        text="".join(part.get("transcript") or part.get("text") or "" for part in contents),
    )
