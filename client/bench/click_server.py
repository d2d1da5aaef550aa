"""A Realtime server that answers clicks with clicks at delays that are known exactly.

It is what the bench measures to learn its own error. The n-th click of a call is answered with a
click ``ANSWER_DELAYS_MS[n]`` after it, counted from when its sample came in; what the answer's
way out costs is the bench's error, as any server's would be. An answer goes on as a steady sound,
and a click during it is told as speech ``STOP_DELAY_MS`` after it.

Run as ``python -m client.bench.click_server``: a process of its own, as a server is.
"""

import asyncio
import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from client.realtime import CHUNK_SAMPLES, SAMPLE_RATE_HZ
from duplex.audio.formats import decode_pcm16, encode_pcm16

ANSWER_DELAYS_MS = (400.0, 237.0, 611.0, 312.5, 853.25, 150.0, 498.75)
STOP_DELAY_MS = 180.0
LEAD_MS = 40.0  # an answer is sent so long before its click plays, with silence in front
CLICK = 0.9
SOUND = 0.3
HEARD = 0.5  # a sample this loud is a caller's click
SPIN_S = 0.002  # the loop's timer is about a millisecond coarse
SOUND_MS = 120  # of an answer that nobody interrupts
LONG_SOUND_MS = 900  # of one that is to be interrupted
GAP_MS = 100.0  # after a click nothing is a click: it is one


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer sounds like: a click, then a square wave, and how long it lasts."""

    silence: int
    sound: int

    def samples(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """At 24 kHz."""
        at = np.arange(self.sound) // 24 % 2
        sound = np.where(at == 0, SOUND, -SOUND).astype(np.float32)
        if self.sound:
            sound[0] = CLICK
        return np.concatenate([np.zeros(self.silence, np.float32), sound])


class EchoCall:
    """One call; ``handle`` it to its end."""

    def __init__(self, websocket: ServerConnection) -> None:
        self._websocket = websocket
        self._now = asyncio.get_running_loop().time
        self._clicks = 0
        self._answers = 0
        self._playing_until_s = 0.0
        self._deaf_until_s = 0.0
        self._long = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self) -> None:
        """Answer clicks until the caller hangs up."""
        await self._send("session.created", session={"type": "realtime", "model": "echo"})
        try:
            async for message in self._websocket:
                event = json.loads(message)
                if event["type"] == "session.update":
                    session = event["session"]
                    self._long = session.get("instructions") == "long"
                    await self._send("session.updated", session=session)
                elif event["type"] == "input_audio_buffer.append":
                    self._hear(decode_pcm16(base64.b64decode(event["audio"])))
        except ConnectionClosed:
            pass
        finally:
            for task in self._tasks:
                task.cancel()

    def _hear(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        now = self._now()
        loud = np.flatnonzero(np.abs(samples) > HEARD)
        if not len(loud) or now < self._deaf_until_s:
            return
        self._deaf_until_s = now + GAP_MS / 1000
        # The sample was taken when the microphone had it, not when its packet was full.
        at_s = now - (CHUNK_SAMPLES - int(loud[0])) / SAMPLE_RATE_HZ
        number, self._clicks = self._clicks, self._clicks + 1
        during = at_s < self._playing_until_s
        self._start(self._stop(number, at_s) if during else self._answer(number, at_s))

    def _start(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, at_s: float) -> None:
        play_s = at_s + ANSWER_DELAYS_MS[self._answers % len(ANSWER_DELAYS_MS)] / 1000
        self._answers += 1
        response_id, item_id = f"response_{number}", f"answer_{number}"
        ids = {"response_id": response_id, "item_id": item_id, "output_index": 0}
        await self._send("input_audio_buffer.committed", item_id=f"click_{number}")
        await self._send("response.created", response={"id": response_id, "status": "in_progress"})
        sound = round((LONG_SOUND_MS if self._long else SOUND_MS) * SAMPLE_RATE_HZ / 1000)
        await self._until(play_s - LEAD_MS / 1000)
        left_s = play_s - self._now()
        samples = Answer(max(0, round(left_s * SAMPLE_RATE_HZ)), sound).samples()
        audio = base64.b64encode(encode_pcm16(samples)).decode("ascii")
        await self._send("response.output_audio.delta", delta=audio, content_index=0, **ids)
        self._playing_until_s = play_s + sound / SAMPLE_RATE_HZ
        await self._send("response.done", response={"id": response_id, "status": "completed"})

    async def _stop(self, number: int, at_s: float) -> None:
        item_id = f"click_{number}"
        await self._until(at_s + STOP_DELAY_MS / 1000)
        self._playing_until_s = 0.0
        await self._send("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=0)
        await self._send("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=0)
        await self._answer(number, self._now())

    async def _until(self, time_s: float) -> None:
        await asyncio.sleep(max(0.0, time_s - SPIN_S - self._now()))
        while self._now() < time_s:
            pass

    async def _send(self, kind: str, **fields: Any) -> None:
        with suppress(ConnectionClosed):
            await self._websocket.send(json.dumps({"type": kind, "event_id": "echo", **fields}))


async def main() -> None:
    """Serve on any free port of this machine and tell the address."""
    async with serve(
        lambda websocket: EchoCall(websocket).handle(),
        "127.0.0.1",
        0,
        compression=None,
        subprotocols=[Subprotocol("realtime")],
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ready: ws://127.0.0.1:{port}/v1/realtime", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
