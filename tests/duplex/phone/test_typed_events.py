"""A phone call and its session exchange typed events, without JSON and base64."""

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import numpy as np
from websockets.exceptions import ConnectionClosedOK

from duplex.audio.formats import decode_ulaw, encode_ulaw
from duplex.config import Config
from duplex.dialogue.parts import Parts
from duplex.metrics import Metrics
from duplex.phone.calls import PhoneCalls
from duplex.phone.codec import Wire
from duplex.phone.events import PCMU, CallerAudio, PhoneEvent, Started
from duplex.protocol import client_events
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
from duplex.testing.virtual_time import virtual
from duplex.testing.voice import ScriptedVoice
from engine.types import Speech

FRAME = 160
LOUD = encode_ulaw((0.3 * np.sin(np.arange(FRAME) * 0.3)).astype(np.float32))


class RawCodec:
    """A line whose messages are audio and nothing else."""

    frame_ms = 20
    has_marks = False

    def __init__(self) -> None:
        self._has_started = False

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        assert isinstance(message, bytes)
        if self._has_started:
            return [CallerAudio(message)]
        self._has_started = True
        return [Started("c", "", PCMU)]

    def play(self, audio: bytes) -> Wire:
        return audio

    def mark(self, name: str) -> Wire:
        raise AssertionError("it has no marks")

    def clear(self) -> Wire | None:
        return None

    def hang_up(self) -> Wire | None:
        return None


class RawSocket:
    """The provider's end of it: puts audio in, and keeps what is played."""

    was_dropped = False
    close_code: int | None = None

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.played = bytearray()
        self._closed = asyncio.Event()

    async def recv(self) -> Wire:
        message = await self.inbox.get()
        if message is None:
            raise ConnectionClosedOK(None, None)
        return message

    async def send(self, message: Wire) -> None:
        assert isinstance(message, bytes)
        self.played += message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.close_code = code
        self._closed.set()
        self.inbox.put_nowait(None)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def abort(self) -> None:
        self._closed.set()


async def talk() -> tuple[RawSocket, set[str]]:
    """The caller speaks for a second, and hears the answer. Returns what was coded meanwhile."""
    config, metrics = Config(), Metrics()
    parts = Parts(
        engine=ScriptedEngine(Script(says=((Speech("Yes, it is."),),))),
        vad=LoudnessVad(),
        voice=ScriptedVoice(),
        voice_steps=TimedSteps(),
        defaults=SessionConfig(),
        open_judge=PatientJudge,
    )
    places = Places(MemoryStore(), Errands(metrics))
    calls = CallRegistry(config, parts, metrics, Load(config.limits, metrics), places)
    phones = PhoneCalls(config, parts, metrics, calls)
    socket = RawSocket()
    socket.inbox.put_nowait(b"start")
    principal = Principal("", Allowance())
    call = asyncio.create_task(phones.hold(socket, RawCodec(), principal, "raw"))
    await asyncio.sleep(0.02)  # the call opens, and makes a token in base64
    with coding_watched() as coded:
        for frame in [LOUD] * 50 + [PCMU.silence * FRAME] * 150:
            socket.inbox.put_nowait(frame)
            await asyncio.sleep(0.02)
    await socket.close()
    await call
    await asyncio.sleep(1.5)
    return socket, coded


@contextlib.contextmanager
def coding_watched() -> Iterator[set[str]]:
    """Collects every call of a JSON or base64 coder, and where it was made."""
    coded: set[str] = set()

    def watch(frame: FrameType, event: str, called: object) -> None:
        if event == "c_call":
            module = getattr(called, "__module__", None) or ""
            owner = type(getattr(called, "__self__", None)).__module__
            name = getattr(called, "__name__", "")
            is_json = "msgspec.json" in (module, owner) or (
                module == "msgspec._core" and name in ("encode", "decode")
            )
            if is_json or module == "_json" or name in ("b2a_base64", "a2b_base64"):
                coded.add(f"{name} in {frame.f_code.co_filename}:{frame.f_lineno}")

    sys.setprofile(watch)
    try:
        yield coded
    finally:
        sys.setprofile(None)


def test_neither_json_nor_base64_runs_in_a_phone_call() -> None:
    socket, coded = virtual(talk())
    answer = decode_ulaw(bytes(socket.played))
    assert np.abs(answer).max() > 0.05  # the caller has heard something
    assert coded == set()


def test_the_watch_sees_both() -> None:
    event = client_events.AudioAppend(audio=LOUD)
    for code in (
        lambda: client_events.encode(event),
        lambda: client_events.decode('{"type":"input_audio_buffer.commit"}'),
        lambda: json.dumps("a"),
        lambda: base64.b64encode(LOUD),
        lambda: base64.b64decode("aa=="),
    ):
        with coding_watched() as coded:
            code()
        assert coded
