"""What a client of a real server does in tests."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


def tone(seconds: float, level: int = 8000) -> str:
    """Base64 PCM16 at 24 kHz, loud enough to be speech."""
    period = [level] * 40 + [-level] * 40
    samples = np.resize(np.array(period, "<i2"), int(seconds * 24_000))
    return base64.b64encode(samples.tobytes()).decode()


async def send(connection: ClientConnection, kind: str, **fields: Any) -> None:
    """Send a client event."""
    await connection.send(json.dumps({"type": kind, **fields}))


async def until(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of a type; others before it are passed over."""
    async with asyncio.timeout(90):
        while True:
            event: dict[str, Any] = json.loads(await connection.recv())
            if event["type"] == kind:
                return event


async def say(connection: ClientConnection) -> None:
    """Send a spoken turn, faster than real time."""
    await send(connection, "input_audio_buffer.append", audio=tone(1.0))
    await send(connection, "input_audio_buffer.append", audio=tone(0.5, level=0))


async def say_something(connection: ClientConnection) -> dict[str, Any]:
    """A spoken turn and its answer; returns the response."""
    await say(connection)
    response: dict[str, Any] = (await until(connection, "response.done"))["response"]
    return response


async def close_code(connection: ClientConnection) -> int:
    """Read until the server closes; returns its code, 1006 if it just went."""
    async with asyncio.timeout(90):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006
