"""What `duplex serve --qr` prints."""

from types import SimpleNamespace
from typing import Any

import pytest

from duplex.cli.main import command_line
from duplex.cli.serve import announce_with_code
from duplex.config import Config, ServerConfig


def printed(url: str, server: ServerConfig, capsys: pytest.CaptureFixture[str]) -> list[str]:
    page = url.replace("ws", "http", 1).removesuffix("v1/realtime")
    running: Any = SimpleNamespace(url=url, page=page)
    announce_with_code(running, Config(server=server))
    return capsys.readouterr().out.splitlines()


def test_the_page_and_why_a_phone_cannot_open_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("ws://127.0.0.1:8765/v1/realtime", ServerConfig(root_path="/v"), capsys)
    assert lines[0] == "ready: ws://127.0.0.1:8765/v1/realtime"
    assert any("▄" in line for line in lines)
    assert lines[-2] == "http://127.0.0.1:8765/v/"
    assert "--host 0.0.0.0" in lines[-1]


def test_a_server_with_tls_needs_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("wss://0.0.0.0:443/v1/realtime", ServerConfig(host="0.0.0.0"), capsys)
    assert lines[-1].startswith("https://")
    assert "0.0.0.0" not in lines[-1]


def test_it_is_asked_for() -> None:
    assert command_line().parse_args(["serve", "--qr"]).qr
    assert not command_line().parse_args(["serve"]).qr
