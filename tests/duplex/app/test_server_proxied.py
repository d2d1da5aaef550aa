"""The server behind real proxies: below a path, and with callers told apart by their addresses."""

import asyncio
import contextlib
import http.client
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from client.telephone.twilio import signature
from duplex.config import AccessConfig, Config, LimitsConfig, ServerConfig
from duplex.server.keys import load_keys
from tests._support.metrics_page import samples
from tests._support.proxies import HAPROXY, NGINX, Kind, proxied
from tests._support.servers import running_server
from tests._support.wire import close_code, say_something, until

pytestmark = pytest.mark.realtime

has_haproxy = pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")
has_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx")
KEY = "a-key-that-is-shared"
NEAR = ("127.0.0.1/32",)
BOTH = [pytest.param("haproxy", marks=has_haproxy), pytest.param("nginx", marks=has_nginx)]


def config(limits: LimitsConfig | None = None, **options: Any) -> Config:
    return Config(server=ServerConfig(port=0, **options), limits=limits or LimitsConfig())


async def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A plain request through the proxy."""

    def run() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers=named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("kind", BOTH)
async def test_all_that_there_is_is_below_the_path(
    kind: Kind, strips: bool, tmp_path: Path
) -> None:
    settings = config(root_path="" if strips else "/voice")
    async with (
        running_server(settings) as running,
        proxied(kind, tmp_path, port_of(running.http), strips=strips) as port,
    ):
        status, _, body = await get(port, "/voice/")
        assert status == 200
        named = re.findall(r'(?:href|src)="([^"]*)"', body.decode())
        assert len(named) >= 3
        for name in (*named, "healthz", "readyz", "metrics", "v1/models"):
            assert (await get(port, f"/voice/{name}"))[0] == 200, name
        async with connect(f"ws://127.0.0.1:{port}/voice/v1/realtime?model=x") as client:
            assert (await say_something(client))["status"] == "completed"


async def test_a_path_that_is_passed_on_is_taken_away_once() -> None:
    async with running_server(config(root_path="voice/")) as running:
        port = port_of(running.http)
        status, headers, _ = await get(port, "/voice")
        assert (status, headers["Location"]) == (308, "/voice/")
        for path in ("/voice/healthz", "/healthz"):
            assert (await get(port, path))[0] == 200
        for path in ("/voice/voice/healthz", "/voicehealthz", "/other/healthz"):
            assert (await get(port, path))[0] == 404


def calling_from(url: str, host: str, key: str = "", **headers: str) -> connect:
    """A caller with an address of its own."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    return connect(url, local_addr=(host, 0), additional_headers=sent)


async def flood(client: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for _ in range(50):
            await client.send("{}")
    assert await close_code(client) == 1008


async def refused(url: str, host: str, key: str = "", **headers: str) -> int:
    """The status with which a caller is refused; 0: it is let in."""
    try:
        async with calling_from(url, host, key, **headers) as client:
            await until(client, "session.created")
            return 0
    except InvalidStatus as error:
        return error.response.status_code


@has_haproxy
async def test_behind_a_trusted_proxy_only_the_abuser_waits(tmp_path: Path) -> None:
    settings = config(LimitsConfig(messages_per_s=1), trusted_proxies=NEAR)
    async with (
        running_server(settings) as running,
        proxied("haproxy", tmp_path, port_of(running.http)) as port,
    ):
        url = f"ws://127.0.0.1:{port}/voice/v1/realtime"
        async with calling_from(url, "127.0.0.2") as abuser:
            await flood(abuser)
        assert await refused(url, "127.0.0.2") == 429
        # It cannot pass for another by writing the header itself.
        assert await refused(url, "127.0.0.2", X_Forwarded_For="198.51.100.1") == 429
        assert await refused(url, "127.0.0.3") == 0
        assert await refused(url, "127.0.0.3", X_Forwarded_For="127.0.0.2") == 0


async def test_who_is_no_trusted_proxy_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running_server(config(LimitsConfig(messages_per_s=1))) as running:
        for pretended in ("198.51.100.1", "198.51.100.2"):
            async with asyncio.timeout(90):
                while await refused(running.url, "127.0.0.1", X_Forwarded_For=pretended):
                    running.server.shared.store._banned.clear()
            async with calling_from(running.url, "127.0.0.1", X_Forwarded_For=pretended) as abuser:
                await flood(abuser)
        assert await refused(running.url, "127.0.0.1", X_Forwarded_For="198.51.100.3") == 429
    told = [r.getMessage() for r in caplog.records if "trusted_proxies" in r.getMessage()]
    assert len(told) == 1
    assert "127.0.0.1" in told[0]


async def test_one_user_of_a_shared_key_does_not_bar_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DUPLEX_API_KEY", KEY)
    settings = config(LimitsConfig(messages_per_s=1))
    async with running_server(settings, keys=load_keys(AccessConfig())) as running:
        async with calling_from(running.url, "127.0.0.2", KEY) as abuser:
            await flood(abuser)
        assert await refused(running.url, "127.0.0.2", KEY) == 429
        assert await refused(running.url, "127.0.0.3", KEY) == 0
    assert "trusted_proxies" not in caplog.text


async def test_one_user_of_a_shared_key_does_not_use_up_the_rate_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUPLEX_API_KEY", KEY)
    access = AccessConfig(bytes_per_s=50_000)
    settings = Config(server=ServerConfig(port=0, max_message_bytes=100_000), access=access)
    async with (
        running_server(settings, keys=load_keys(access)) as running,
        calling_from(running.url, "127.0.0.3", KEY) as other,
    ):
        async with calling_from(running.url, "127.0.0.2", KEY) as abuser:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(50):
                    await abuser.send("x" * 90_000)
            assert await close_code(abuser) in (1008, 1006)
        assert (await say_something(other))["status"] == "completed"


async def test_garbage_in_the_header_is_counted_and_harms_nobody() -> None:
    settings = config(trusted_proxies=NEAR)
    async with running_server(settings) as running:
        for garbage in ("unix:", "\xff\xfe", "1.2.3", ",".join(["x"] * 1000)):
            assert await refused(running.url, "127.0.0.1", X_Forwarded_For=garbage) == 0
        assert (await get(port_of(running.http), "/healthz", X_Forwarded_For="?"))[0] == 200
        page = running.server.metrics.render({})
        assert samples(page)['duplex_dropped_total{reason="forwarded"}'] == 5


async def test_a_page_of_its_own_may_call_if_the_proxy_has_tls() -> None:
    origin = "https://bot.example.org"
    told = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "bot.example.org", "Origin": origin}
    async with running_server(config(trusted_proxies=NEAR)) as running:
        assert await refused(running.url, "127.0.0.1", **told) == 0
        for change in (
            {"X_Forwarded_Proto": "http"},
            {"X_Forwarded_Host": "other.example.org"},
            {"Origin": "http://bot.example.org"},
        ):
            assert await refused(running.url, "127.0.0.1", **{**told, **change}) == 403
    async with running_server(config()) as running:  # nobody is trusted
        assert await refused(running.url, "127.0.0.1", **told) == 403


@has_haproxy
@pytest.mark.parametrize("strips", [True, False])
async def test_twilio_signs_what_it_asked_the_proxy_for(
    strips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "an auth token of Twilio's"
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", token)
    settings = config(trusted_proxies=NEAR, root_path="/voice")
    async with (
        running_server(settings) as running,
        proxied("haproxy", tmp_path, port_of(running.http), strips=strips) as port,
    ):
        public = f"127.0.0.1:{port}/voice/twilio?assistant=bot"
        for scheme, status in (("http", 200), ("https", 403)):
            signed = signature(token, f"{scheme}://{public}")
            told = {"X_Twilio_Signature": signed}
            answer = await get(port, "/voice/twilio?assistant=bot", **told)
            assert answer[0] == status
            if status == 200:
                assert f"ws://127.0.0.1:{port}/voice/twilio" in answer[2].decode()
        # What a proxy that has TLS says, which is this machine.
        told = {
            "X_Forwarded_Proto": "https",
            "Host": "bot.example.org",
            "X_Twilio_Signature": signature(token, "https://bot.example.org/voice/twilio"),
        }
        assert (await get(port_of(running.http), "/twilio", **told))[0] == 200
