"""A scripted server on real loopback sockets, in virtual time."""

import asyncio
import base64
import contextlib
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from duplex.audio.formats import decode_ulaw, encode_ulaw
from duplex.audio.resample import resample

RATE = 24_000
LOUD = 0.05


class VirtualSelector(selectors.DefaultSelector):
    """Sockets are real; a wait in which nothing arrives takes no time and moves the clock.

    What one end of a loopback socket has sent, the other can read at once: so if nothing is
    readable now, nothing will be before the next timer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0) or (super().select(0.0002) if timeout > 0 else [])
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


@dataclass
class FakeServer:
    """Hears loud samples, answers each utterance ``delay_ms`` after its last loud sample.

    An utterance is over when ``hangover_ms`` of quiet have followed. Speech during an answer
    cancels it, as interrupt_response does; with ``resumes`` the answer then goes on in a response
    of its own and the speech is not answered, which its metadata tells if ``says_so``; with
    ``patient`` nothing stops an answer, and what is said into it is not answered.
    """

    answer: np.ndarray
    delay_ms: float = 400.0
    hangover_ms: float = 200.0
    pace: float = 0.0  # seconds between the answer's deltas
    delta_samples: int = 2400
    capacity: int = 100
    transcripts: bool = True
    resumes: bool = False
    says_so: bool = True
    patient: bool = False
    mute: bool = False  # commits and never answers
    hang_up_after: int | None = None  # appended chunks
    marks: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    open_calls: int = 0
    most_calls: int = 0
    url: str = ""

    async def handle(self, websocket: ServerConnection) -> None:
        if self.open_calls >= self.capacity:
            await websocket.close(1013, "all lines are busy")
            return
        self.open_calls += 1
        self.most_calls = max(self.most_calls, self.open_calls)
        try:
            await FakeCall(self, websocket).run()
        except ConnectionClosed:
            pass
        finally:
            self.open_calls -= 1


class FakeCall:
    def __init__(self, server: FakeServer, websocket: ServerConnection) -> None:
        self.server = server
        self.websocket = websocket
        self.clock = asyncio.get_running_loop().time
        self.position = 0
        self.last_loud: int | None = None  # in the open utterance
        self.last_loud_s = 0.0
        self.turns = 0
        self.rate = RATE
        self.playing_until_s = 0.0
        self.cut: str | None = None  # the answer that was just cut
        self.reply: asyncio.Task[None] | None = None

    async def send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": "event", **fields}
        await self.websocket.send(json.dumps(event))

    async def run(self) -> None:
        chunks = 0
        await self.send("session.created", session={"model": "fake"})
        try:
            async for message in self.websocket:
                event = json.loads(message)
                self.server.received.append((self.clock(), event))
                if event["type"] == "session.update":
                    if event["session"]["audio"]["input"]["format"]["type"] == "audio/pcmu":
                        self.rate = 8000
                    await self.send("session.updated", session=event["session"])
                elif event["type"] == "input_audio_buffer.append":
                    chunks += 1
                    if chunks == self.server.hang_up_after:
                        await self.websocket.close(1011, "the machine is on fire")
                        return
                    data = base64.b64decode(event["audio"])
                    telephone = self.rate == 8000
                    await self.hear(
                        decode_ulaw(data) if telephone else np.frombuffer(data, "<i2") / 32768
                    )
        finally:
            if self.reply is not None:
                self.reply.cancel()

    async def hear(self, samples: np.ndarray) -> None:
        loud = np.flatnonzero(np.abs(samples) > LOUD)
        item_id = f"item_{id(self)}_{self.turns}"
        if self.server.patient and self.clock() < self.playing_until_s:
            self.position += len(samples)
            return
        if len(loud):
            if self.last_loud is None:
                await self.cancel_reply()
                await self.send("input_audio_buffer.speech_started", item_id=item_id)
            self.last_loud = self.position + int(loud[-1])
            # A sample is heard when the microphone took it, not when its packet came.
            self.last_loud_s = self.clock() - (len(samples) - int(loud[-1])) / self.rate
        self.position += len(samples)
        quiet = 0 if self.last_loud is None else self.position - self.last_loud
        if quiet * 1000 / self.rate > self.server.hangover_ms:
            self.last_loud = None
            await self.send("input_audio_buffer.speech_stopped", item_id=item_id)
            if self.server.resumes and self.cut is not None:
                self.reply = asyncio.create_task(self.answer(self.turns, self.last_loud_s))
                self.turns += 1
                return
            await self.send("input_audio_buffer.committed", item_id=item_id)
            if self.server.transcripts:
                prefix = "conversation.item.input_audio_transcription"
                await self.send(f"{prefix}.delta", item_id=item_id, delta=f"question {self.turns}")
                await self.send(
                    f"{prefix}.completed", item_id=item_id, transcript=f"question {self.turns}"
                )
            if not self.server.mute:
                self.reply = asyncio.create_task(self.answer(self.turns, self.last_loud_s))
            self.turns += 1

    async def cancel_reply(self) -> None:
        if self.clock() < self.playing_until_s:
            self.cut, self.playing_until_s = f"resp_{id(self)}_{self.turns - 1}", 0.0
        if self.reply is not None and not self.reply.done():
            self.reply.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.reply
            response = {"id": f"resp_{id(self)}_{self.turns - 1}", "status": "cancelled"}
            await self.send("response.done", response=response)

    async def answer(self, turn: int, end_s: float) -> None:
        response_id, item_id = f"resp_{id(self)}_{turn}", f"answer_{id(self)}_{turn}"
        ids = {"response_id": response_id, "item_id": item_id}
        response: dict[str, Any] = {"id": response_id, "status": "in_progress"}
        if self.server.resumes and self.server.says_so and self.cut is not None:
            response["metadata"] = {"duplex_resumes": self.cut}
        self.cut = None
        await self.send("response.created", response=response)
        await asyncio.sleep(end_s + self.server.delay_ms / 1000 - self.clock())
        await self.send("response.output_audio_transcript.delta", delta=f"answer {turn}", **ids)
        self.playing_until_s = self.clock() + len(self.server.answer) / RATE
        for start in range(0, len(self.server.answer), self.server.delta_samples):
            part = self.server.answer[start : start + self.server.delta_samples]
            pcm = (part * 32767).round().astype("<i2").tobytes()
            if self.rate == 8000:
                pcm = encode_ulaw(resample(part, RATE, 8000))
            delta = base64.b64encode(pcm).decode()
            await self.send("response.output_audio.delta", delta=delta, content_index=0, **ids)
            if self.server.pace:
                await asyncio.sleep(self.server.pace)
        await self.send("response.output_audio.done", content_index=0, **ids)
        if self.server.marks:
            marks, counts = self.server.marks, self.server.counts
            await self.send("duplex.turn_metrics", marks=marks, counts=counts, **ids)
        await self.send("response.done", response={"id": response_id, "status": "completed"})


@contextlib.asynccontextmanager
async def listening(
    handler: Callable[[ServerConnection], Coroutine[Any, Any, None]],
    process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> AsyncIterator[str]:
    """Serve on a free port; yields the address."""
    server: Server
    async with serve(
        handler,
        "127.0.0.1",
        0,
        subprotocols=["realtime"],  # type: ignore[list-item]
        compression=None,
        process_request=process_request,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1/realtime"


@contextlib.asynccontextmanager
async def running(server: FakeServer) -> AsyncIterator[FakeServer]:
    async with listening(server.handle) as url:
        server.url = url
        yield server


def click(at: int, length: int, amplitude: float = 0.5) -> np.ndarray:
    """Silence with one loud sample."""
    samples = np.zeros(length, dtype=np.float32)
    samples[at] = amplitude
    return samples


def tone(duration_ms: float, amplitude: float = 0.5) -> np.ndarray:
    """A square wave: every sample is loud."""
    count = round(duration_ms * RATE / 1000)
    return np.where(np.arange(count) // 40 % 2, amplitude, -amplitude).astype(np.float32)


@dataclass(frozen=True)
class Lab:
    """What the tests are made of."""

    FakeServer = FakeServer
    running = staticmethod(running)
    listening = staticmethod(listening)
    click = staticmethod(click)
    tone = staticmethod(tone)

    @staticmethod
    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run in virtual time: a call of a minute takes no minute."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
