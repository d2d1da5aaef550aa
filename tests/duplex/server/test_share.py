"""The address that other devices open, and its QR code."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from duplex.config import ServerConfig
from duplex.server import share
from duplex.server.forwarded import Origin
from duplex.server.http import HttpAnswer, HttpRequest
from duplex.server.share import Shared, SharePages, in_terminal, shared

EVERYWHERE = ServerConfig(host="0.0.0.0")


@pytest.mark.parametrize(
    ("page", "server", "found"),
    [
        ("http://127.0.0.1:8765/", ServerConfig(), ("http://127.0.0.1:8765/", "this_machine")),
        ("http://localhost:8765/", EVERYWHERE, ("http://10.1.2.3:8765/", "no_microphone")),
        ("http://0.0.0.0:8765/", EVERYWHERE, ("http://10.1.2.3:8765/", "no_microphone")),
        ("https://[::1]:8765/d/", EVERYWHERE, ("https://10.1.2.3:8765/d/", "yes")),
        ("https://voice.example/", ServerConfig(), ("https://voice.example/", "yes")),
        ("http://10.9.9.9:8765/", EVERYWHERE, ("http://10.9.9.9:8765/", "no_microphone")),
    ],
)
def test_the_address_for_other_devices(
    page: str, server: ServerConfig, found: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "own_address", lambda: "10.1.2.3")
    assert shared(page, server) == Shared(*found)  # type: ignore[arg-type]


def ask(path: str, host: str, origin: Origin | None = None) -> HttpAnswer:
    pages = SharePages(ServerConfig(root_path="/voice"))
    answer = pages.handlers[path](HttpRequest("GET", path, {"host": host}, origin=origin))
    assert isinstance(answer, HttpAnswer)
    return answer


def test_a_proxy_knows_the_name_of_the_page() -> None:
    origin = Origin("10.0.0.1", is_secure=True, host="voice.example")
    told = json.loads(ask("/share", "127.0.0.1:8765", origin).body)
    assert told == {"address": "https://voice.example/voice/", "works": "yes"}


def test_a_host_that_is_none_is_not_told() -> None:
    told = json.loads(ask("/share", "evil/<script>").body)
    assert told["address"] == "http://127.0.0.1:8765/voice/"


def test_the_codes_of_two_addresses_differ() -> None:
    one, two = (ask("/share.svg", host) for host in ("10.0.0.1:8765", "10.0.0.2:8765"))
    assert one.content_type == "image/svg+xml"
    assert ElementTree.fromstring(one.body).tag.endswith("svg")
    assert one.body != two.body


def test_a_terminal_shows_a_code() -> None:
    one, two = (in_terminal(f"http://10.0.0.{n}:8765/") for n in (1, 2))
    assert set(one) <= set("█▄▀ \n")
    assert one.count("█") > 100
    assert one != two
