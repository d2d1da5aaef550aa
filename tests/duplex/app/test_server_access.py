"""Who comes in, on a real socket: keys, client secrets, origins, TLS, limits of a key, pages."""

import asyncio
import hashlib
import json
import ssl
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from duplex.cli.main import main
from duplex.config import AccessConfig, Config, LimitsConfig, ServerConfig
from duplex.errors import ConfigError
from duplex.server.http import MAX_BODY_BYTES
from duplex.server.keys import Keys, Principal, load_keys
from duplex.server.quota import Allowance
from duplex.server.store import MemoryStore
from tests._support.metrics_page import samples
from tests._support.servers import running_server, scripted_server
from tests._support.wire import close_code, say_something, send, until

pytestmark = pytest.mark.realtime

ALICE, BOB = "alice-alice-alice-alice", "bob-bob-bob-bob-bob"


UNLIMITED = Allowance()


def keys(alice: Allowance = UNLIMITED) -> Keys:
    owners = {ALICE: Principal("alice", alice, True), BOB: Principal("bob", Allowance())}
    entries = {
        owner.name: (hashlib.sha256(key.encode()).digest(), owner) for key, owner in owners.items()
    }
    return Keys(entries, Principal("", Allowance()))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def config(**options: Any) -> Config:
    return Config(server=ServerConfig(port=0, **options))


async def request(
    base: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """A plain request, as any HTTP client makes it."""

    def run() -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(urlsplit(base).netloc, timeout=90)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


async def test_without_a_key_nobody_comes_in() -> None:
    async with running_server(config(), keys=keys()) as running:
        for headers in ({}, bearer("wrong"), {"Authorization": f"Basic {ALICE}"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(running.url, additional_headers=headers)
            response = refused.value.response
            assert response.status_code == 401
            assert json.loads(response.body or b"")["error"]["code"] == "invalid_api_key"
        assert running.engine.sessions == []


async def test_a_key_in_the_header_or_the_subprotocol_opens_a_call() -> None:
    async with running_server(config(), keys=keys()) as running:
        async with connect(running.url, additional_headers=bearer(ALICE)) as connection:
            assert (await say_something(connection))["status"] == "completed"
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{BOB}")]
        async with connect(running.url, subprotocols=offered) as connection:
            assert connection.subprotocol == "realtime"
            await until(connection, "session.created")


async def test_pages_of_strangers_do_not_come_in() -> None:
    access = AccessConfig(origins=("https://good.example",))
    listed = Config(server=ServerConfig(port=0), access=access)
    async with running_server(listed) as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(running.url, origin=Origin("https://evil.example"))
        assert refused.value.response.status_code == 403
        for origin in ("https://good.example", "http://localhost:5173"):
            async with connect(running.url, origin=Origin(origin)) as connection:
                await until(connection, "session.created")


async def test_the_openai_package_makes_a_client_secret_that_opens_a_call() -> None:
    async with running_server(config(), keys=keys()) as running:
        client = AsyncOpenAI(api_key=ALICE, base_url=f"{running.http}/v1")
        made = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "instructions": "Rhyme.", "tools": []},
        )
        await client.close()
        assert made.value.startswith("ek_")
        assert made.session.instructions == "Rhyme."
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{made.value}")]
        async with connect(running.url, subprotocols=offered) as connection:
            created = await until(connection, "session.created")
            assert created["session"]["instructions"] == "Rhyme."
            await send(connection, "session.update", session={"instructions": None})
            updated = await until(connection, "session.updated")
            assert updated["session"]["instructions"] == "Be brief."


@pytest.mark.parametrize(
    ("body", "key", "status", "code"),
    [
        (b"", ALICE, 200, None),
        (b"{}", ALICE, 200, None),
        (b"{}", "wrong", 401, "invalid_api_key"),
        (b"{", ALICE, 400, "invalid_value"),
        (b'{"expires_after":{"anchor":"created_at","seconds":9}}', ALICE, 400, "invalid_value"),
        (b'{"session":{"audio":{"output":{"speed":9}}}}', ALICE, 400, "invalid_value"),
        (b"[" * 60_000, ALICE, 400, "invalid_value"),
        (b" " * (MAX_BODY_BYTES + 1), ALICE, 413, "body_too_large"),
    ],
)
async def test_requests_for_client_secrets(
    body: bytes, key: str, status: int, code: str | None
) -> None:
    async with running_server(config(), keys=keys()) as running:
        path = "/v1/realtime/client_secrets"
        got, _, answer = await request(running.http, "POST", path, body, bearer(key))
        assert got == status
        assert json.loads(answer).get("error", {}).get("code") == code


async def test_a_client_secret_cannot_prolong_itself() -> None:
    async with running_server(config(), keys=keys()) as running:
        path = "/v1/realtime/client_secrets"
        _, _, answer = await request(running.http, "POST", path, b"{}", bearer(ALICE))
        secret = json.loads(answer)["value"]
        status, _, _ = await request(running.http, "POST", path, b"{}", bearer(secret))
        assert status == 401
        status, _, _ = await request(running.http, "GET", "/metrics", headers=bearer(secret))
        assert status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/nothing", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/v1/realtime/client_secrets", 405),
        ("GET", "/v1/realtime/client_secrets", 405),
        ("POST", "/v1/realtime", 404),
        ("GET", "/metrics", 401),
    ],
)
async def test_plain_requests(method: str, path: str, status: int) -> None:
    async with running_server(config(), keys=keys()) as running:
        got, headers, body = await request(running.http, method, path)
        assert got == status
        assert "Server" not in headers
        assert method != "HEAD" or body == b""


async def test_what_is_no_http_is_told_so() -> None:
    async with running_server(config()) as running:
        host, port = urlsplit(running.http).netloc.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_metrics_count_calls_turns_and_refusals() -> None:
    async with (
        running_server(config(max_calls=1), keys=keys()) as running,
        connect(running.url, additional_headers=bearer(ALICE)) as connection,
    ):
        await say_something(connection)
        async with connect(running.url, additional_headers=bearer(BOB)) as second:
            assert await close_code(second) == 1013
        status, _, _ = await request(running.http, "GET", "/metrics", headers=bearer(BOB))
        assert status == 401  # a customer's key
        _, _, page = await request(running.http, "GET", "/metrics", headers=bearer(ALICE))
    counted = samples(page.decode())
    assert counted["duplex_calls_open"] == 1
    assert counted["duplex_calls_total"] == 1
    assert counted['duplex_refused_total{reason="full"}'] == 1
    assert counted['duplex_responses_total{ending="completed"}'] == 1
    assert counted['duplex_stage_seconds_count{stage="ear"}'] == 1
    assert counted["duplex_received_bytes_total"] > 24_000 * 2 * 1.5


async def test_a_key_has_its_own_number_of_calls() -> None:
    async with running_server(config(), keys=keys(Allowance(calls=1))) as running:
        headers = bearer(ALICE)
        async with connect(running.url, additional_headers=headers) as first:
            await until(first, "session.created")
            async with connect(running.url, additional_headers=headers) as second:
                assert (await until(second, "error"))["error"]["code"] == "rate_limit_exceeded"
                assert await close_code(second) == 1008
            async with connect(running.url, additional_headers=bearer(BOB)) as other:
                await until(other, "session.created")


async def test_callers_who_come_at_once_count_too() -> None:
    async with running_server(config(max_calls=20), keys=keys(Allowance(calls=1))) as running:

        async def first_event() -> str:
            async with connect(running.url, additional_headers=bearer(ALICE)) as connection:
                event = json.loads(await connection.recv())
                await everyone.wait()  # nobody leaves before all have been told
                return str(event["type"])

        everyone = asyncio.Barrier(8)
        kinds = await asyncio.gather(*(first_event() for _ in range(8)))
        assert sorted(kinds) == ["error"] * 7 + ["session.created"]


async def test_a_call_is_taken_up_again_although_its_secret_has_expired() -> None:
    async with running_server(config(), keys=keys()) as running:
        client = AsyncOpenAI(api_key=ALICE, base_url=f"{running.http}/v1")
        headers = bearer((await client.realtime.client_secrets.create()).value)
        await client.close()
        connection = await connect(running.url, additional_headers=headers)
        await send(connection, "session.update", session={"duplex": {"resume": True}})
        offer = await until(connection, "duplex.resume")
        connection.transport.abort()
        store = running.server.shared.store
        assert isinstance(store, MemoryStore)
        store._secrets = {d: (0.0, *kept) for d, (_, *kept) in store._secrets.items()}  # type: ignore[misc]
        with pytest.raises(InvalidStatus) as refused:
            await connect(running.url, additional_headers=headers)
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus):
            await connect(f"{running.url}?resume=guessed", additional_headers=headers)
        again = f"{running.url}?resume={offer['token']}&after={offer['event_id']}"
        async with connect(again, additional_headers=headers) as resumed:
            assert (await say_something(resumed))["status"] == "completed"


@pytest.mark.parametrize("path", ["//[", "http://[/v1/realtime"])
async def test_a_path_that_cannot_be_read_is_a_bad_request(path: str) -> None:
    async with running_server(config()) as running:
        host, port = urlsplit(running.http).hostname, urlsplit(running.http).port
        reader, writer = await asyncio.open_connection(host, port)
        head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}{key}\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_one_holder_of_a_client_secret_does_not_lock_the_others_out() -> None:
    async with running_server(config(max_calls=20), keys=keys()) as running:
        client = AsyncOpenAI(api_key=ALICE, base_url=f"{running.http}/v1")
        made = [await client.realtime.client_secrets.create() for _ in range(2)]
        await client.close()
        noisy, quiet = (bearer(secret.value) for secret in made)
        async with connect(running.url, additional_headers=noisy) as connection:
            await until(connection, "session.created")
            (call,) = running.server.calls
            assert call._socket is not None
            call._socket.drop("messages", "too many")  # type: ignore[attr-defined]
        with pytest.raises(InvalidStatus) as refused:
            await connect(running.url, additional_headers=noisy)
        assert refused.value.response.status_code == 429
        for headers in (quiet, bearer(ALICE)):
            async with connect(running.url, additional_headers=headers) as connection:
                await until(connection, "session.created")


async def test_a_call_ends_when_its_key_has_no_minutes_left() -> None:
    allowance = Allowance(minutes_per_day=0.05 / 60)
    async with running_server(config(), keys=keys(allowance)) as running:
        async with connect(running.url, additional_headers=bearer(ALICE)) as connection:
            error = (await until(connection, "error"))["error"]
            assert error["code"] == "rate_limit_exceeded"
            assert await close_code(connection) == 1008
        async with connect(running.url, additional_headers=bearer(ALICE)) as again:
            assert "minutes a day" in (await until(again, "error"))["error"]["message"]


async def test_a_call_has_a_greatest_length() -> None:
    async with scripted_server(max_call_s=0.05) as (url, _), connect(url) as connection:
        assert (await until(connection, "error"))["error"]["code"] == "session_expired"
        assert await close_code(connection) == 1008


async def test_a_server_that_is_late_takes_no_further_call_but_always_a_first() -> None:
    async with running_server(config(), refuses_when_late=True) as running:
        for _ in range(60):
            running.server.load.note_lag(10.0)
        async with connect(running.url) as first:
            await until(first, "session.created")
            status, _, page = await request(running.http, "GET", "/readyz")
            assert (status, page) == (503, b"busy\n")
            async with connect(running.url) as second:
                error = (await until(second, "error"))["error"]
                assert error["code"] == "server_full"
                assert "event loop" in error["message"]
                assert await close_code(second) == 1013


async def test_a_server_whose_turns_are_slow_takes_no_further_call() -> None:
    limits = LimitsConfig(refuse_stage="ear", refuse_stage_ms=2500)
    slow = Config(server=ServerConfig(port=0), limits=limits)
    async with (
        running_server(slow, refuses_when_late=True) as running,
        connect(running.url) as first,
    ):
        await until(first, "session.created")
        for _ in range(5):
            running.server.metrics.turn("completed", {"ear": 3000.0}, time.monotonic())
        async with connect(running.url) as second:
            assert "'ear'" in (await until(second, "error"))["error"]["message"]


def certificate(folder: Path) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    crt, key = folder / "crt.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, "-out", str(crt), "-keyout", str(key)], check=True, capture_output=True
    )
    return str(crt), str(key)


async def test_calls_over_tls(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    async with running_server(config(tls_certificate=crt, tls_key=key)) as running:
        assert running.url.startswith("wss://")
        trusted = ssl.create_default_context(cafile=crt)
        async with connect(running.url, ssl=trusted) as connection:
            assert (await say_something(connection))["status"] == "completed"


async def test_the_page_of_a_server_with_tls_may_call_it(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    server = config(tls_certificate=crt, tls_key=key, host="0.0.0.0", insecure=True)
    async with running_server(server) as running:
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        own = url.removesuffix("/v1/realtime").replace("wss", "https", 1)
        trusted = ssl.create_default_context(cafile=crt)
        async with connect(url, ssl=trusted, origin=Origin(own)) as connection:
            await until(connection, "session.created")
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, ssl=trusted, origin=Origin("https://evil.example"))
        assert refused.value.response.status_code == 403


async def test_a_wrong_certificate_is_a_config_error(tmp_path: Path) -> None:
    crt, _ = certificate(tmp_path)
    with pytest.raises(ConfigError, match="tls_certificate"):
        async with running_server(config(tls_certificate=crt, tls_key=str(tmp_path))):
            pass


async def test_a_server_that_strangers_reach_does_not_start_without_a_key() -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        async with running_server(config(host="0.0.0.0")):
            pass
    some = load_keys(AccessConfig(), {"DUPLEX_API_KEY": ALICE})
    async with running_server(config(host="0.0.0.0"), keys=some):
        pass
    async with running_server(config(host="0.0.0.0", insecure=True)):
        pass


@pytest.mark.usefixtures("logging_restored")
def test_the_command_says_what_is_missing_before_it_loads_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DUPLEX_API_KEY", raising=False)
    assert main(["serve", "--host", "0.0.0.0"]) == 1
    assert "DUPLEX_API_KEY" in capsys.readouterr().err
