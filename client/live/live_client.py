"""One live call: the microphone goes out, what comes sounds, keys act."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.live.connection import Connection
from client.live.conversation import Conversation
from client.live.devices import DeviceError
from client.live.echo_canceller import EchoGuard
from client.live.intake import Chunk, Intake
from client.live.keys import ESCAPE, PushToTalk, Step
from client.live.latency import SpeechEnd
from client.live.loudspeaker import Loudspeaker, LoudspeakerFull
from client.live.soundcard import SoundCard
from client.realtime import CHUNK_MS, SAMPLE_RATE_HZ, ClientError
from client.screen import Screen

LOOK_AROUND_S = 0.25  # how soon a device that gives nothing is noticed
MIN_TURN_SAMPLES = SAMPLE_RATE_HZ // 10  # servers refuse to take less for a turn
MAX_WAITING_KEYS = 64  # more than anybody types while an event is sent; the rest is dropped
TALK_KEYS = frozenset(" \r\n")
HANG_UP_KEYS = frozenset("qQ")
STOP_KEYS = frozenset({" ", ESCAPE})
OPEN_KEYS = "keys: m mute, space stop the answer, q quit"
PUSH_KEYS = "keys: space talk (hold it, or press it again to end), esc stop the answer, q quit"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a call is made of."""

    connection: Connection
    card: SoundCard
    screen: Screen
    guard: EchoGuard | None


class LiveClient:
    """``run`` it once."""

    def __init__(self, parts: Parts, *, push_to_talk: bool, expects_marks: bool = False) -> None:
        self._parts = parts
        self._loudspeaker = Loudspeaker()
        self._conversation = Conversation(self._loudspeaker, expects_marks)
        self._intake = Intake(asyncio.get_running_loop())
        self._speech_end = SpeechEnd()
        self._keys: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_KEYS)
        self._hung_up = asyncio.Event()
        self._push = PushToTalk() if push_to_talk else None
        self._sent_samples = 0  # of the turn that is being said, with push-to-talk
        self._muted = False

    def press(self, key: str) -> None:
        """A key of the terminal; never waits."""
        if key in HANG_UP_KEYS:
            self._hung_up.set()
        elif not self._keys.full():
            self._keys.put_nowait(key)

    async def run(self) -> None:
        """Talk until the caller hangs up.

        Raises:
            DeviceError: a device cannot be opened, or stops working.
            ClientError: the connection is lost, or too slow.
        """
        card, guard = self._parts.card, self._parts.guard
        tasks: list[asyncio.Task[None]] = []
        try:
            card.start(self._intake.put, self._render)
            self._loudspeaker.latency_samples = round(card.output_latency_s * SAMPLE_RATE_HZ)
            if guard is not None:
                guard.latency_s = card.input_latency_s + card.output_latency_s
            self._parts.screen.line("speak" if self._push is None else "ready")
            jobs = (self._receive, self._listen, self._obey, self._until_hung_up)
            tasks.extend(asyncio.create_task(job()) for job in jobs)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises why it ended
        finally:
            self._intake.close()
            card.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _render(self, count: int) -> NDArray[np.float32]:
        """Called by the sound card."""
        samples = self._loudspeaker.take(count, monotonic())
        if self._parts.guard is not None:
            self._parts.guard.played(samples)
        return samples

    async def _receive(self) -> None:
        while True:
            received = await self._parts.connection.receive()
            self._parts.screen.event(received)
            try:
                replies = self._conversation.receive(received.event)
            except LoudspeakerFull as error:
                raise ClientError(str(error)) from error
            self._parts.connection.enqueue(replies)
            self._show()

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_AROUND_S):
                    chunk: Chunk | None = await self._intake.get()
            except TimeoutError:
                chunk = None
            if (fault := self._parts.card.fault()) is not None:
                raise DeviceError(fault)
            if chunk is not None:
                await self._hear(chunk)
            if self._push is not None and self._push.tick(monotonic()) is Step.END:
                await self._end_turn()
            self._show()

    async def _hear(self, chunk: Chunk) -> None:
        guard, line = self._parts.guard, self._parts.connection
        samples = chunk.samples if guard is None else guard.clean(chunk.samples)
        if self._push is not None:
            if self._push.talking:
                self._mark(samples, chunk.at_s)
                self._sent_samples += len(samples)
                await line.append(samples)
        elif self._muted:
            await line.append(np.zeros_like(samples))  # the server's time goes on
        else:
            self._mark(samples, chunk.at_s)
            await line.append(samples)

    def _mark(self, samples: NDArray[np.float32], at_s: float) -> None:
        taken_s = at_s - self._parts.card.input_latency_s
        if self._speech_end.feed(samples, taken_s, CHUNK_MS / 1000):
            self._conversation.speech_end_s = self._speech_end.speech_end_s

    async def _obey(self) -> None:
        while True:
            key = await self._keys.get()
            if self._push is not None and key in TALK_KEYS:
                if self._push.press(monotonic()) is Step.BEGIN:
                    await self._begin_turn()
            elif key in STOP_KEYS:
                if self._conversation.answering:
                    await self._send(self._conversation.stop_answer())
                    self._parts.screen.line("  (stopped)")
            elif key in ("m", "M") and self._push is None:
                self._muted = not self._muted
                self._parts.screen.line("  (muted)" if self._muted else "  (listening again)")

    async def _until_hung_up(self) -> None:
        await self._hung_up.wait()

    async def _begin_turn(self) -> None:
        self._parts.screen.line("  (speak)")
        self._sent_samples = 0
        await self._send(
            [*self._conversation.stop_answer(), {"type": "input_audio_buffer.clear"}],
        )

    async def _end_turn(self) -> None:
        if self._sent_samples < MIN_TURN_SAMPLES:
            self._parts.screen.line("  (too short)")
            return
        self._parts.screen.line("  (sent)")
        await self._send([{"type": "input_audio_buffer.commit"}, {"type": "response.create"}])

    async def _send(self, events: list[dict[str, Any]] | list[Mapping[str, Any]]) -> None:
        for event in events:
            await self._parts.connection.send(event)

    def _show(self) -> None:
        for line in self._conversation.reports():
            self._parts.screen.line(line)
        while self._conversation.notices:
            self._parts.screen.line(f"  ! {self._conversation.notices.pop(0)}")
