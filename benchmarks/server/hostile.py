"""One hostile client, as a process of its own, so that its work is not the measuring client's.

    python -m benchmarks.server.hostile NAME URL SECONDS

with its key in DUPLEX_API_KEY.

It only ever calls this machine, and begins again whenever it is dropped, ten times a second at
most.
"""

import asyncio
import base64
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import numpy as np
from websockets.frames import Frame, Opcode

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_HANDSHAKE = (
    "GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    f"Authorization: Bearer {os.environ.get('DUPLEX_API_KEY')}\r\n\r\n"
).encode()
_RNG = np.random.default_rng(0)


def _frame(data: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def _append(seconds: float) -> bytes:
    noise = (_RNG.standard_normal(int(seconds * 24_000)) * 8000).astype("<i2").tobytes()
    audio = base64.b64encode(noise)
    return _frame(b'{"type":"input_audio_buffer.append","audio":"' + audio + b'"}')


async def _open(url: str) -> Streams:
    place = urlsplit(url)
    assert place.hostname in ("127.0.0.1", "::1"), "only this machine is ever attacked"
    return await asyncio.open_connection(place.hostname, place.port)


async def _call(url: str) -> Streams:
    reader, writer = await _open(url)
    writer.write(_HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _pour(streams: Streams, data: bytes, *, reads: bool = True) -> None:
    """Write ``data`` over and over until the server has had enough."""
    reader, writer = streams
    reading = asyncio.create_task(_read_all(reader)) if reads else None
    if reading is None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
    try:
        while reading is None or not reading.done():
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0)
    finally:
        if reading is not None:
            reading.cancel()
        writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def tiny_frames(url: str) -> None:
    """Empty messages, as fast as they go."""
    await _pour(await _call(url), _frame(b"{}") * 1000)


async def pings(url: str) -> None:
    """Pings whose pongs are not read."""
    await _pour(await _call(url), _frame(b"x" * 125, Opcode.PING) * 500, reads=False)


async def giant_messages(url: str) -> None:
    """Audio of five minutes in each message."""
    await _pour(await _call(url), _append(320))


async def dear_json(url: str) -> None:
    """Millions of objects in a message."""
    tools = b"{}," * 3_000_000 + b"{}"
    await _pour(
        await _call(url), _frame(b'{"type":"session.update","session":{"tools":[' + tools + b"]}}")
    )


async def endless_fragments(url: str) -> None:
    """A message that never ends."""
    streams = await _call(url)
    streams[1].write(_frame(b"x", fin=False))
    await _pour(streams, _frame(b"x" * 1000, Opcode.CONT, fin=False) * 100)


async def slow_reader(url: str) -> None:
    """Has its own words told back to it and reads none."""
    text = b"x" * 30_000
    update = b'{"type":"session.update","session":{"instructions":"' + text + b'"}}'
    await _pour(await _call(url), _frame(update), reads=False)


async def fast_audio(url: str) -> None:
    """Noise, many times faster than real time."""
    await _pour(await _call(url), _append(1))


async def slowloris(url: str) -> None:
    """Two hundred requests that never end."""
    sockets = [await _open(url) for _ in range(200)]
    try:
        for _, writer in sockets:
            writer.write(b"GET /v1/realtime HTTP/1.1\r\nX: ")
        for _ in range(20):
            await asyncio.sleep(0.2)
            for reader, writer in sockets:
                if not (reader.at_eof() or writer.is_closing()):
                    writer.write(b"x")
    finally:
        for _, writer in sockets:
            writer.transport.abort()


async def vanishing(url: str) -> None:
    """Calls that are spoken into and dropped without a word."""
    _, writer = await _call(url)
    writer.write(_append(0.5))
    await asyncio.sleep(0.05)
    writer.transport.abort()


ATTACKS: dict[str, Callable[[str], Awaitable[None]]] = {
    "tiny frames": tiny_frames,
    "unread pongs": pings,
    "giant messages": giant_messages,
    "JSON dear to decode": dear_json,
    "endless fragments": endless_fragments,
    "slow reader": slow_reader,
    "audio faster than real time": fast_audio,
    "slowloris": slowloris,
    "vanishing calls": vanishing,
}


async def attack(name: str, url: str, seconds: float) -> int:
    """Attack again and again for so long; returns how often."""
    times = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                times += 1
                with contextlib.suppress(OSError, EOFError):
                    await ATTACKS[name](url)
                await asyncio.sleep(0.1)
    return times


if __name__ == "__main__":
    os.nice(10)  # it is the server that is measured, not how two processes share the cores
    print(asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
