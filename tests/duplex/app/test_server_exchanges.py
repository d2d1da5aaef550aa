"""Requests that take time, on a real port: slow senders, slow readers, and those who leave."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from msgspec.structs import replace

from duplex.config import Config, LimitsConfig, ServerConfig
from duplex.server.http import HttpAnswer
from tests._support.servers import Running, running_server

pytestmark = pytest.mark.realtime

UPLOAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
)


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    config = replace(config, server=replace(config.server, port=0))
    async with running_server(config) as running:
        yield running


async def connect(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(running.http.rpartition(":")[2]))


async def until_none_is_open(running: Running) -> None:
    async with asyncio.timeout(5):
        while running.server.sockets.answering:
            await asyncio.sleep(0.01)


def speech(text: str) -> bytes:
    body = json.dumps({"model": "tts-1", "input": text, "voice": "v", "response_format": "wav"})
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def test_who_stops_sending_is_dropped() -> None:
    """And one that goes on sending is not, however long it takes."""
    limits = LimitsConfig(handshake_s=0.5)
    async with serving(Config(limits=limits)) as running:
        reader, writer = await connect(running)
        writer.write(UPLOAD)
        for _ in range(10):
            writer.write(b"-")
            await asyncio.sleep(0.1)
        assert running.server.sockets.answering
        assert await reader.read() == b""
        await until_none_is_open(running)
        writer.close()


async def test_who_leaves_while_sending_makes_room() -> None:
    async with serving(Config(server=ServerConfig(max_calls=1))) as running:
        for _ in range(3):
            _, writer = await connect(running)
            writer.write(UPLOAD + b"--x")
            async with asyncio.timeout(5):
                while not running.server.sockets.answering:
                    await asyncio.sleep(0.01)
            writer.transport.abort()
            await until_none_is_open(running)
        reader, writer = await connect(running)
        writer.write(speech("Hello."))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.slow  # fills the buffers of the machine
async def test_who_reads_nothing_is_dropped() -> None:
    async with serving(Config(server=ServerConfig(stall_s=0.5))) as running:
        reader, writer = await connect(running)
        writer.write(speech("All work and no play makes Jack a dull boy. " * 4000))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(60):
            while running.server.sockets.answering:
                await asyncio.sleep(0.05)
        page = running.server.metrics.render({})
        assert 'duplex_dropped_total{reason="unread"} 1' in page
        writer.transport.abort()


async def test_a_failure_is_told_and_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Config()) as running:

        def broken(_: object) -> HttpAnswer:
            raise RuntimeError("broken")

        monkeypatch.setattr("duplex.speech_api.transcriptions.blocks", broken)
        reader, writer = await connect(running)
        form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na\r\n--x--'
        writer.write(UPLOAD.replace(b"1000000", str(len(form)).encode()) + form)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"broken" not in answer
        await until_none_is_open(running)
        writer.close()
        reader, writer = await connect(running)
        writer.write(speech("Hello."))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_waits_to_be_told_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(bytes(2_000_000))
    async with serving(Config()) as running:
        for arguments, status in (
            (["-F", f"file=@{path}", "-H", "Expect: 100-continue"], HTTPStatus.BAD_REQUEST),
            (["--data", "{}", "-H", "Expect: 100-continue"], HTTPStatus.BAD_REQUEST),
        ):
            process = await asyncio.create_subprocess_exec(
                *("curl", "-sv", "--expect100-timeout", "30", *arguments),
                f"{running.http}/v1/audio/transcriptions",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(20):
                _, said = await process.communicate()
            assert b"HTTP/1.1 100" in said
            assert f"HTTP/1.1 {status.value}".encode() in said
