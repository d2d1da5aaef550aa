"""What keeps a server from listening is told before anything is loaded, with the mend."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from duplex import ConfigError, Server, load_config
from duplex.cli.main import main
from duplex.config import Config, ServerConfig
from duplex.server.lifetime import check_address


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_told_before_models_are_loaded(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where there are none
    assert main(["serve", "--port", str(taken)]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert f"127.0.0.1:{taken}" in told
    assert "--port" in told


@pytest.mark.parametrize(
    ("host", "mend"), [("192.0.2.1", "server.host"), ("no-such-host.invalid", "server.host")]
)
def test_an_address_that_is_not_ours_is_told(host: str, mend: str) -> None:
    with pytest.raises(OSError, match=mend):
        check_address(ServerConfig(host=host, port=8765))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_a_free_port_stays_free(host: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        check_address(ServerConfig(host=host, port=port))
    check_address(ServerConfig(host=host, port=0))


@pytest.mark.parametrize("text", [None, "", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_certificate_that_cannot_be_used_is_told(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    if text is not None:
        path.write_text(text)
    options = {"server.tls_certificate": str(path), "server.tls_key": str(path)}
    with pytest.raises(ConfigError, match=r"server\.tls_certificate"):
        Server(load_config(None, options))
    assert Server(Config(server=ServerConfig(port=0))).config.server.port == 0
