"""Clients over WebRTC in a real Chromium, on a page of another origin, against a real server with
scripted models: @openai/agents' stock transport and a plain RTCPeerConnection."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests._support.browser import CHROMIUM, DRIVER, Page, browser
from tests._support.webrtc import Network
from tests._support.webrtc_page import page_served
from tests.stock_clients.test_stock_clients import ENVIRONMENTS, HERE, ROOT

BUNDLE = (
    ENVIRONMENTS / "agents_js/node_modules/@openai/agents-realtime/dist/bundle"
) / "openai-realtime-agents.umd.js"
SCENARIOS = {
    "greeting": "talk",
    "spoken turn": "talk",
    "barge-in": "story",
    "stop by the client": "story",
    "tool call": "weather",
}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
    pytest.mark.skipif(not BUNDLE.exists(), reason="no stock client: run `make clients`"),
]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The addresses of a server in a process of its own, by scenario, and its key."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        try:
            found: dict[str, str] = json.loads(server.stdout.readline())
            yield {name: url.replace("ws", "http", 1) for name, url in found.items()}
        finally:
            server.stdin.close()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(loss=0.05, jitter_s=0.06)


@pytest.fixture(scope="module")
def page(network: Network) -> Iterator[Page]:
    files = {
        "/": HERE / "browser/page.html",
        "/drive.js": HERE / "browser/drive.js",
        "/agents.js": BUNDLE,
    }
    with (
        page_served(files, network) as address,
        browser(address, arguments=("--autoplay-policy=no-user-gesture-required",)) as opened,
    ):
        opened.driver.set_script_timeout(90)
        opened.driver.get(f"{address}/")
        yield opened


def secret(url: str, key: str) -> str:
    """A client secret, as a page is given one."""
    request = urllib.request.Request(
        f"{url}/client_secrets", b"{}", {"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request) as answer:
        made: str = json.load(answer)["value"]
        return made


def tried(page: Page, client: str, feature: str, url: str, key: str) -> str:
    script = (
        "const [client, feature, url, secret, done] = arguments;"
        "outcome(client, feature, url, secret).then(done);"
    )
    return str(page.driver.execute_async_script(script, client, feature, url, key))


CASES = [
    (client, feature)
    for client in ("agents", "peer")
    for feature in SCENARIOS
    if (client, feature) != ("peer", "tool call")
]


@pytest.mark.parametrize(("client", "feature"), CASES)
def test_it_works(client: str, feature: str, page: Page, urls: dict[str, str]) -> None:
    url = urls[SCENARIOS[feature]]
    assert tried(page, client, feature, f"{url}/calls", secret(url, urls["key"])) == "ok"


@pytest.mark.parametrize(("client", "feature"), CASES)
def test_it_works_over_a_bad_network(
    client: str, feature: str, page: Page, urls: dict[str, str], network: Network
) -> None:
    url = urls[SCENARIOS[feature]]
    through = f"{page.address}/relay?to={url}/calls"
    before = network.lost
    assert tried(page, client, feature, through, secret(url, urls["key"])) == "ok"
    assert network.lost > before
