"""A Realtime server that answers each question by a rule, and keeps what it was asked."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from duplex.audio.formats import decode_pcm16, encode_pcm16

Asked = list[str | int]
"""The parts of a question in order: texts, and of sounds their samples' count."""


@dataclass
class AnsweringServer:
    """``answer`` gives the text for a question; with ``sounds`` it is spoken as noise, too. The
    first ``busy`` calls are refused, the ``drops`` ones (counted from 0) are hung up on."""

    answer: Callable[[Asked], str]
    busy: int = 0
    drops: frozenset[int] = frozenset()
    status: str = "completed"
    asked: list[Asked] = field(default_factory=list)
    sessions: list[dict] = field(default_factory=list)
    sounds: list[np.ndarray] = field(default_factory=list)
    calls: int = 0
    open_calls: int = 0
    most_calls: int = 0
    url: str = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["AnsweringServer"]:
        async with serve(
            self._handle,
            "127.0.0.1",
            0,
            subprotocols=["realtime"],  # type: ignore[list-item]
            max_size=None,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}/v1/realtime"
            yield self

    async def _handle(self, websocket: ServerConnection) -> None:
        number, self.calls = self.calls, self.calls + 1
        if number < self.busy:
            await websocket.close(1013, "all lines are busy")
            return
        self.open_calls += 1
        self.most_calls = max(self.most_calls, self.open_calls)
        try:
            await self._hold(websocket, number)
        except ConnectionClosed:
            pass
        finally:
            self.open_calls -= 1

    async def _hold(self, websocket: ServerConnection, number: int) -> None:
        async def send(kind: str, **fields: object) -> None:
            await websocket.send(json.dumps({"type": kind, "event_id": "event", **fields}))

        parts: Asked = []
        buffer = bytearray()
        speaks = False
        await send("session.created", session={"model": "table"})
        async for message in websocket:
            event = json.loads(message)
            if event["type"] == "session.update":
                self.sessions.append(event["session"])
                speaks = event["session"]["output_modalities"] == ["audio"]
                await send("session.updated", session=event["session"])
            elif event["type"] == "input_audio_buffer.append":
                buffer += base64.b64decode(event["audio"])
            elif event["type"] == "input_audio_buffer.commit":
                self.sounds.append(decode_pcm16(bytes(buffer)))
                parts.append(len(buffer) // 2)
                buffer.clear()
                prefix = "conversation.item.input_audio_transcription"
                await send(f"{prefix}.completed", item_id="item", transcript="so it was heard")
            elif event["type"] == "conversation.item.create":
                parts.append(event["item"]["content"][0]["text"])
            elif event["type"] == "response.create":
                self.asked.append(parts)
                if number in self.drops:
                    await websocket.close(1011, "the machine is on fire")
                    return
                await self._answer(send, self.answer(parts), speaks)

    async def _answer(self, send: Callable, text: str, speaks: bool) -> None:
        ids = {"response_id": "r", "item_id": "i"}
        await send("response.created", response={"id": "r", "status": "in_progress"})
        kind = "response.output_audio_transcript" if speaks else "response.output_text"
        for start in range(0, len(text), 7):
            await send(f"{kind}.delta", delta=text[start : start + 7], **ids)
        if speaks:
            pcm = encode_pcm16(np.full(2400, 0.25, np.float32))
            await send("response.output_audio.delta", delta=base64.b64encode(pcm).decode(), **ids)
        usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
        await send("response.done", response={"id": "r", "status": self.status, "usage": usage})
