"""Clients that do harm are dropped, with bounded memory, while another call goes on."""

import asyncio
import contextlib
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from duplex.config import AccessConfig, Config, LimitsConfig, ServerConfig
from duplex.server.http import MAX_HEAD_BYTES
from duplex.server.keys import Keys, Principal, load_keys
from duplex.server.quota import Allowance
from tests._support.servers import Running, running_server
from tests._support.wire import close_code, say_something, send, tone, until

pytestmark = pytest.mark.realtime

UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextlib.asynccontextmanager
async def served(
    server: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, **access: Any
) -> AsyncIterator[tuple[Running, ClientConnection]]:
    """A server with small limits, and a good call; at the end, that call is well."""
    config = Config(
        server=ServerConfig(port=0, **server or {}),
        limits=LimitsConfig(**limits or {}),
        access=AccessConfig(**access),
    )
    keys = load_keys(config.access, {})
    async with running_server(config, keys=keys) as running, connect(running.url) as good:
        await until(good, "session.created")
        yield running, good
        assert (await say_something(good))["status"] == "completed"


async def raw(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = urlsplit(running.http).netloc.split(":")
    return await asyncio.open_connection(host, int(port))


async def handshaken(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket on which frames may be written as they are."""
    reader, writer = await raw(running)
    writer.write(UPGRADE)
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def frame(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def closed_with(reader: asyncio.StreamReader) -> int:
    """Read to the end; the code of the close frame that comes last."""
    async with asyncio.timeout(90):
        data = await reader.read()
    at = data.rindex(b"\x88")
    return int(struct.unpack("!H", data[at + 2 : at + 4])[0])


def dropped(running: Running, kind: str) -> bool:
    return f'duplex_dropped_total{{reason="{kind}"}}' in running.server.metrics.render({})


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.TEXT, Opcode.BINARY])
async def test_a_flood_of_tiny_frames(opcode: Opcode) -> None:
    async with served(limits={"messages_per_s": 20}) as (running, _):
        reader, writer = await handshaken(running)
        writer.write(frame(opcode) * 50_000)
        assert await closed_with(reader) == 1008
        assert dropped(running, "messages")
        writer.close()


async def test_a_burst_within_the_limit_is_no_flood() -> None:
    async with served(limits={"messages_per_s": 100}) as (running, _), connect(running.url) as one:
        for _ in range(500):
            await send(one, "input_audio_buffer.append", audio=tone(0.01))
        await send(one, "input_audio_buffer.append", audio=tone(0.5, level=0))
        assert (await until(one, "response.done"))["response"]["status"] == "completed"


async def test_more_bytes_than_a_key_may_send() -> None:
    options = {"max_message_bytes": 100_000}
    async with served(options, bytes_per_s=200_000) as (running, _), connect(running.url) as bad:
        with contextlib.suppress(ConnectionClosed):  # it may be closed before all is sent
            for _ in range(20):
                await send(bad, "input_audio_buffer.append", audio=tone(1.0))
        assert await close_code(bad) in (1008, 1006)
        assert dropped(running, "bytes")


async def test_fragments_that_never_end() -> None:
    async with served({"max_message_bytes": 100_000}) as (running, _):
        reader, writer = await handshaken(running)
        writer.write(frame(Opcode.TEXT, b"x" * 1000, fin=False))
        writer.write(frame(Opcode.CONT, b"x" * 1000, fin=False) * 200)
        assert await closed_with(reader) == 1009
        writer.close()


async def test_empty_fragments_that_never_end() -> None:
    async with served() as (running, _):
        reader, writer = await handshaken(running)
        writer.write(frame(Opcode.TEXT, b"x", fin=False))
        writer.write(frame(Opcode.CONT, b"", fin=False) * 4990)
        assert await closed_with(reader) == 1009
        writer.close()


async def test_a_fragment_that_is_left_unfinished_counts_as_silence() -> None:
    async with running_server(Config(server=ServerConfig(port=0, idle_timeout_s=0.1))) as running:
        reader, writer = await handshaken(running)
        writer.write(frame(Opcode.TEXT, b"{", fin=False))
        assert await closed_with(reader) == 1008
        writer.close()


async def test_compression_is_not_agreed_to() -> None:
    async with served() as (running, _):
        async with connect(running.url, compression="deflate") as client:
            assert client.response is not None
            assert "Sec-WebSocket-Extensions" not in client.response.headers
        reader, writer = await handshaken(running)
        bomb = bytearray(frame(Opcode.TEXT, b"x"))
        bomb[0] |= 0x40  # "compressed"
        writer.write(bytes(bomb))
        assert await closed_with(reader) == 1002
        writer.close()


async def test_handshakes_that_never_end_make_room_for_others() -> None:
    async with served(limits={"max_handshakes": 3}) as (running, _):
        sockets = [await raw(running) for _ in range(4)]
        for _, writer in sockets:
            writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        async with asyncio.timeout(90):
            with contextlib.suppress(ConnectionError):
                assert await sockets[0][0].read() == b""  # the oldest
        assert dropped(running, "handshake")
        async with connect(running.url) as client:
            await until(client, "session.created")
        for _, writer in sockets:
            writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /v1/realtime HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n"])
async def test_a_handshake_has_its_time(sent: bytes) -> None:
    async with served(limits={"handshake_s": 0.1}) as (running, _):
        reader, writer = await raw(running)
        writer.write(sent)
        async with asyncio.timeout(90):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_an_endless_head_is_cut_off(method: bytes) -> None:
    async with served() as (running, _):
        reader, writer = await raw(running)
        writer.write(method + b" / HTTP/1.1\r\n" + b"X: " + b"x" * 4000 + b"\r\n")
        for _ in range(MAX_HEAD_BYTES // 4000):
            writer.write(b"X: " + b"x" * 4000 + b"\r\n")
        async with asyncio.timeout(90):
            with contextlib.suppress(ConnectionError):
                assert b" 101 " not in await reader.read()
        writer.close()


async def test_sockets_are_bounded() -> None:
    async with served({"max_calls": 1}, {"max_handshakes": 1}) as (running, _):
        clients = [await raw(running) for _ in range(20)]
        async with asyncio.timeout(90):
            while running.server.sockets.open > 1 + 4:
                await asyncio.sleep(0)
        for _, writer in clients:
            writer.close()


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    options = {"max_outbox_bytes": 200_000, "stall_s": 0.2}
    async with served(options) as (running, _):
        reader, writer = await handshaken(running)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        # Its own words come back to it: many times what the kernel buffers.
        text = json.dumps({"type": "session.update", "session": {"instructions": "x" * 50_000}})
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                writer.write(frame(Opcode.TEXT, text.encode()))
                await writer.drain()
        async with asyncio.timeout(90):
            while not running.engine.sessions[1].closed:
                await asyncio.sleep(0)
        writer.transport.abort()


async def test_json_that_is_dear_to_decode_is_refused() -> None:
    async with served() as (running, _), connect(running.url) as client:
        await until(client, "session.created")
        for hostile in ("{}," * 100_000 + "{}", "1," * 300_000 + "1"):
            await client.send(f'{{"type":"session.update","session":{{"tools":[{hostile}]}}}}')
            error = (await until(client, "error"))["error"]
            assert "too many values" in error["message"]
        assert (await say_something(client))["status"] == "completed"


async def test_binary_frames_are_read_as_text() -> None:
    async with served() as (running, _), connect(running.url) as client:
        await client.send(b"\xff\xfe")
        assert (await until(client, "error"))["error"]["code"] == "invalid_json"
        assert (await say_something(client))["status"] == "completed"


async def test_a_plain_request_gets_one_answer_however_much_follows() -> None:
    async with served() as (running, _):
        reader, writer = await raw(running)
        writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        async with asyncio.timeout(90):
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
        assert answer.count(b"HTTP/1.1 ") <= 1
        writer.close()


async def test_who_was_dropped_has_to_wait() -> None:
    good, bad = "good-good-good-good", "bad-bad-bad-bad-bad"
    entries = {
        name: (hashlib.sha256(key.encode()).digest(), Principal(name, Allowance()))
        for name, key in (("good", good), ("bad", bad))
    }
    config = Config(server=ServerConfig(port=0), limits=LimitsConfig(messages_per_s=1))
    keys = Keys(entries, Principal("", Allowance()))

    def call(key: str) -> connect:
        return connect(running.url, additional_headers={"Authorization": f"Bearer {key}"})

    async with running_server(config, keys=keys) as running:
        async with call(bad) as flooding:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(50):
                    await flooding.send("{}")
            assert await close_code(flooding) == 1008
        with pytest.raises(InvalidStatus) as refused:
            await call(bad)
        assert refused.value.response.status_code == 429
        async with call(good) as other:
            await until(other, "session.created")


async def test_a_client_that_leaves_minutes_of_audio_behind_is_not_heard_to_the_end() -> None:
    async with served(limits={"audio_rate": 0.1}) as (running, _):
        async with connect(running.url, max_size=None) as client:
            await until(client, "session.created")
            for seconds in (320, 8.5):  # the second has to wait
                await send(client, "input_audio_buffer.append", audio=tone(seconds, level=0))
            client.transport.abort()
        async with asyncio.timeout(90):
            while not running.engine.sessions[1].closed:
                await asyncio.sleep(0)


async def test_frames_sent_along_with_a_request_that_is_not_admitted() -> None:
    entries = {"x": (b"0" * 32, Principal("x", Allowance()))}
    limits = LimitsConfig(messages_per_s=1)
    config = Config(server=ServerConfig(port=0), limits=limits)
    keys = Keys(entries, Principal("", Allowance()))
    async with running_server(config, keys=keys) as running:
        reader, writer = await raw(running)
        writer.write(UPGRADE + frame(Opcode.PING) * 100)
        async with asyncio.timeout(90):
            with contextlib.suppress(ConnectionError):
                assert b" 101 " not in await reader.read()
        assert running.engine.sessions == []
        writer.close()
