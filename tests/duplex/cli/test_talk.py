"""`duplex talk` at servers with a certificate of their own, and with a key."""

import asyncio
import io
from pathlib import Path

import pytest

from client.realtime import ClientError, Unreachable, connect
from client.talk import FAILED, TalkOptions, talk
from duplex.audio.files import write_wav
from duplex.cli.main import command_line
from duplex.cli.talk import _key
from duplex.config import AccessConfig, Config, ServerConfig
from duplex.server.keys import load_keys
from tests._support.servers import running_server
from tests.duplex.app.test_server_access import certificate

KEY = "a-key-of-more-than-sixteen-characters"


def secured(folder: Path) -> Config:
    crt, key = certificate(folder)
    return Config(server=ServerConfig(port=0, tls_certificate=crt, tls_key=key))


async def test_a_certificate_of_ones_own_is_told_and_can_be_trusted(tmp_path: Path) -> None:
    config = secured(tmp_path)
    async with running_server(config) as running:
        with pytest.raises(Unreachable, match=r"is not trusted: self-signed.*--ca FILE"):
            await connect(running.url)
        client = await connect(running.url, ca=Path(config.server.tls_certificate))
        await client.close()
        with pytest.raises(Unreachable, match="Does it speak TLS, wss://"):
            await connect(running.url.replace("wss", "ws", 1))


async def test_tls_with_a_server_that_has_none_is_told() -> None:
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        with pytest.raises(Unreachable, match=r"no TLS with wss://.*ws:// in place of wss"):
            await connect(running.url.replace("ws", "wss", 1))


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_a_file_that_is_no_certificate_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(ClientError, match=r"--ca .*ca\.pem: .*PEM"):
        await connect("wss://127.0.0.1:9/", ca=tmp_path / "ca.pem")


def test_the_key_is_that_of_the_variable_but_for_other_projects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key(*options: str) -> str | None:
        return _key(command_line().parse_args(["talk", *options]))

    monkeypatch.setenv("DUPLEX_API_KEY", KEY)
    assert key() == KEY
    assert key("--key", "other") == "other"
    assert key("--foreign") is None
    monkeypatch.delenv("DUPLEX_API_KEY")
    assert key() is None


async def test_a_wrong_key_is_told_in_words(tmp_path: Path) -> None:
    import numpy as np

    write_wav(tmp_path / "q.wav", np.sin(np.arange(24_000)) / 2, 24_000)
    keys = load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY})
    out = io.StringIO()
    async with running_server(Config(server=ServerConfig(port=0)), keys=keys) as running:
        wanted = TalkOptions(url=running.url, files=[tmp_path / "q.wav"], key="wrong")
        code = await asyncio.wait_for(talk(wanted, out), 20)
    assert code == FAILED
    assert "does not let you in: " in out.getvalue()
    assert "DUPLEX_API_KEY" in out.getvalue()
    assert "{" not in out.getvalue()
