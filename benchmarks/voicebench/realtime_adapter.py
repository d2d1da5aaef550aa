"""What the PyPI suite `voicebench` lacks to call an OpenAI Realtime server: an adapter.

Its own WebSocket adapter streams bare PCM frames; this one speaks the public Realtime protocol.
Runs in voicebench's environment, not in ours: ``voicebench run scenario.yaml`` with
``adapter: {type: realtime_adapter:RealtimeAdapter, options: {url: ws://...}}``.
"""

import asyncio
import base64
import contextlib
import json
import os
from typing import Any, ClassVar

import numpy as np
from voicebench.adapters import Adapter, AdapterError, AgentAudio, AgentClear, Transcript
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

RATE_HZ = 24_000  # of audio/pcm, both ways
TRANSCRIPT = "conversation.item.input_audio_transcription.completed"


class RealtimeAdapter(Adapter):
    """One call. ``key_env`` names the environment variable with the key, if one is wanted."""

    name: ClassVar[str] = "openai-realtime"

    def __init__(self, url: str, key_env: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._url = url
        self._key_env = key_env
        self._websocket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._item: tuple[str, float, float] | None = None  # id, when it began, until when it lasts
        self._failure: str | None = None

    async def connect(self) -> None:
        """Open the call and wait until the session is as we need it."""
        if self.session.sample_rate != RATE_HZ:
            raise AdapterError(f"the scenario's sample_rate must be {RATE_HZ}")
        headers = {}
        if self._key_env:
            headers["Authorization"] = f"Bearer {os.environ[self._key_env]}"
        try:
            self._websocket = await connect(
                self._url,
                additional_headers=headers,
                subprotocols=[Subprotocol("realtime")],
                compression=None,
                max_size=None,
            )
            pcm = {"type": "audio/pcm", "rate": RATE_HZ}
            audio = {
                "input": {"format": pcm, "transcription": {"model": "whisper-1"}},
                "output": {"format": pcm},
            }
            await self._send(
                {"type": "session.update", "session": {"type": "realtime", "audio": audio}}
            )
            async for message in self._websocket:
                event = json.loads(message)
                if event["type"] == "error":
                    raise AdapterError(f"the server rejects the session: {event['error']}")
                if event["type"] == "session.updated":
                    break
        except (OSError, ConnectionClosed, TimeoutError) as error:
            raise AdapterError(f"cannot call {self._url}: {error}") from error
        self._reading = asyncio.create_task(self._read(self._websocket))

    async def send_audio(self, pcm: np.ndarray) -> None:
        """One frame of the caller."""
        if self._failure is not None:
            raise AdapterError(self._failure)
        data = (np.clip(pcm, -1, 1) * 32767).round().astype("<i2").tobytes()
        audio = base64.b64encode(data).decode("ascii")
        await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def close(self) -> None:
        """Hang up."""
        if self._websocket is not None:
            await self._websocket.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self, websocket: ClientConnection) -> None:
        try:
            async for message in websocket:
                await self._receive(json.loads(message), self.session.clock.now())
        except ConnectionClosed as error:
            self._failure = f"the server ended the call: {error}"

    async def _receive(self, event: dict[str, Any], now: float) -> None:
        kind = event["type"]
        if kind == "response.output_audio.delta":
            samples = (
                np.frombuffer(base64.b64decode(event["delta"]), "<i2").astype(np.float32) / 32768
            )
            self.emit(AgentAudio(samples, now))
            self._queue(event["item_id"], len(samples) / RATE_HZ, now)
        elif kind == "input_audio_buffer.speech_started":
            self.emit(AgentClear(now))
            if self._item is not None and self._item[2] > now:
                await self._truncate(now)
        elif kind == TRANSCRIPT:
            self.emit(Transcript("user", event["transcript"], now))
        elif kind == "error":
            self._failure = f"the server reports: {event['error'].get('message')}"

    def _queue(self, item_id: str, seconds: float, now: float) -> None:
        if self._item is None or self._item[0] != item_id:
            start = max(now, self._item[2] if self._item else now)
            self._item = (item_id, start, start + seconds)
        else:
            item_id, start, until = self._item
            self._item = (item_id, start, max(until, now) + seconds)

    async def _truncate(self, now: float) -> None:
        """Tell what was heard, as a GA client does."""
        assert self._item is not None  # asked for by the caller
        item_id, start, _ = self._item
        heard_ms = max(0, int(1000 * (now - start)))
        self._item = (item_id, start, now)
        await self._send(
            {
                "type": "conversation.item.truncate",
                "item_id": item_id,
                "content_index": 0,
                "audio_end_ms": heard_ms,
            }
        )

    async def _send(self, event: dict[str, Any]) -> None:
        if self._websocket is None:
            raise AdapterError("there is no call")
        try:
            await self._websocket.send(json.dumps(event))
        except ConnectionClosed as error:
            raise AdapterError(f"the server ended the call: {error}") from error
