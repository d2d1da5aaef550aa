"""The page behind a real proxy: with TLS, below a path, in a real browser."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from duplex.config import Config, ServerConfig
from tests._support.browser import CHROMIUM, DRIVER, browser
from tests._support.proxies import HAPROXY, proxied
from tests._support.served import Served, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
    pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy"),
]


@contextmanager
def proxy_of(server: Served, folder: Path, *, strips: bool, tls: str) -> Iterator[int]:
    """A proxy in a thread; yields its port."""
    ready, ending = threading.Event(), asyncio.Event()
    ports: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        inside = int(server.running.http.rpartition(":")[2])
        async with proxied("haproxy", folder, inside, strips=strips, tls=tls) as port:
            ports.append(port)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        while not ready.wait(0.1):
            assert thread.is_alive(), "the proxy does not start"
        yield ports[0]
    finally:
        for loop in loops:
            loop.call_soon_threadsafe(ending.set)
        thread.join(30)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Key and certificate in one file, as haproxy wants them."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
        f"-keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return str(both)


@pytest.mark.parametrize("strips", [True, False])
def test_a_call_from_a_page_below_a_path(strips: bool, tmp_path: Path, certificate: str) -> None:
    settings = Config(
        server=ServerConfig(
            port=0, trusted_proxies=("127.0.0.1",), root_path="" if strips else "/voice"
        )
    )
    with (
        served(settings) as server,
        proxy_of(server, tmp_path, strips=strips, tls=certificate) as port,
        browser(
            f"https://localhost:{port}/voice", arguments=("--ignore-certificate-errors",)
        ) as page,
    ):
        page.open("?probe&who=ann")
        page.click("#talk")
        page.until(lambda: page.activity() == "listening", "the call")
        socket = page.js("return String(duplexTest.call.wire.url)")
        assert socket == f"wss://localhost:{port}/voice/v1/realtime?who=ann"
        page.until(lambda: page.all("#model option"), "the models")  # of /voice/v1/models
        page.find("#text").send_keys("Hello.\n")
        page.until(lambda: page.events("response.done"), "the answer")
        page.click("#talk")
        if not strips:
            page.driver.get(f"https://localhost:{port}/voice")
            assert page.driver.current_url == f"https://localhost:{port}/voice/"
        told = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert told == []
