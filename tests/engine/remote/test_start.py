"""What is said of a service at the start, in one line and with the mend."""

import asyncio
import json
import re
import sys

import pytest

from engine.errors import EngineError
from engine.remote.service import RemoteError, Service
from engine.remote.start import AddressError, checked, mended
from tests._support.endpoint import Reply, body, endpoint, events, status

LISTED = status(200, json.dumps({"object": "list", "data": [{"id": "qwen"}, {"id": "llama"}]}))


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        (" https://api.example.org/v1/ ", "https://api.example.org/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://example.org/openai/v1?api-version=1", "https://example.org/openai/v1?api-version=1"),
    ],
)  # fmt: skip
def test_an_address_as_it_should_be(written: str, used: str) -> None:
    assert mended("brain.base_url", written) == (used, "")


@pytest.mark.parametrize("path", ["chat/completions", "models/", "audio/speech", "completions"])
def test_an_address_of_one_of_the_paths_is_mended(path: str) -> None:
    used, said = mended("brain.base_url", f"http://127.0.0.1:8000/v1/{path}")
    assert used == "http://127.0.0.1:8000/v1"
    assert f'"{used}" is used' in said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "must be set"),
        ("localhost:8000/v1", 'write "http://localhost:8000/v1"'),
        ("127.0.0.1:8000/v1", 'write "http://127.0.0.1:8000/v1"'),
        ("vllm:8000", 'write "http://vllm:8000"'),
        ("api.example.org/v1", 'write "https://api.example.org/v1"'),
        ("ws://127.0.0.1/v1", "no address"),
        ("http://", "no address"),
        ("http://127.0.0.1:port/v1", "no address"),
    ],
)
def test_an_address_that_cannot_be_used(written: str, said: str) -> None:
    with pytest.raises(AddressError, match=f"brain.base_url.*{said}") as raised:
        mended("brain.base_url", written)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "pip install socksio"),
        ("all_proxy", "socks5h://127.0.0.1:1080", "pip install socksio"),
        ("HTTP_PROXY", "ftp://127.0.0.1:21", "HTTP_PROXY names a proxy that cannot be used"),
        ("http_proxy", "http://[::1", "HTTP_PROXY names a proxy that cannot be used"),
    ],
)
def test_a_proxy_that_cannot_be_used(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(variable, value)
    with pytest.raises(RemoteError, match=said) as raised:
        Service("brain", "http://models.example.org/v1")
    assert "NO_PROXY" in str(raised.value)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("no_proxy", "example.org")
    assert Service("brain", "http://models.example.org/v1").proxy is None


def test_a_key_that_cannot_be_sent() -> None:
    with pytest.raises(RemoteError, match="key"):
        Service("brain", "http://127.0.0.1/v1", "sk-\u201cquoted\u201d")


async def lines_of(
    models: Reply, *answers: Reply, model: str = "qwen", part: str = "brain"
) -> list[str]:
    async with endpoint(*answers, pages={"/v1/models": models}) as served:
        service = Service(part, served.base_url, "sk-secret")
        return (await asyncio.to_thread(checked, service, part, [model]))[1]


async def test_a_model_that_is_listed_is_not_spoken_of() -> None:
    assert await lines_of(LISTED) == []
    assert await lines_of(status(200, '{"models": [{"name": "qwen:latest"}]}')) == []


async def test_a_model_that_the_service_refuses_is_refused() -> None:
    with pytest.raises(EngineError, match=r'no model "qwem" in its list \(qwen\).*No such model'):
        await lines_of(LISTED, status(404, '{"detail": "No such model"}'), model="qwem")


async def test_a_model_that_answers_without_being_listed_is_doubted() -> None:
    (line,) = await lines_of(LISTED, events(), model="qwem")
    assert "is brain.model right?" in line
    (line,) = await lines_of(LISTED, status(404), model="tts-1", part="voice")  # it is not tried
    assert 'no model "tts-1"' in line


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (status(404), "does not list its models"),
        (status(500), "does not list its models"),
        (body(b"<html>"), "does not list its models"),
        (status(200, '{"data": 5}'), "does not list its models"),
        (status(401, '{"detail": "Bad key sk-secret"}'), r"refuses the key: 401 Bad key \*\*\*"),
    ],
)
async def test_what_cannot_be_checked_is_said(models: Reply, said: str) -> None:
    (line,) = await lines_of(models)
    assert re.search(said, line)
    assert "\n" not in line


async def test_the_end_of_an_address_is_found() -> None:
    async with endpoint(status(404), pages={"/v1/models": LISTED}) as served:
        service = Service("brain", served.base_url.removesuffix("/v1"))
        used, (line,) = await asyncio.to_thread(checked, service, "brain", ["qwen"])
    assert used.base_url == served.base_url
    assert f'"{served.base_url}" is used' in line


def test_nobody_is_there() -> None:
    service, (line,) = checked(Service("brain", "http://127.0.0.1:9/v1"), "brain", ["qwen"])
    assert line.startswith("brain.base_url: the connection to the brain's endpoint failed")
    assert service.base_url == "http://127.0.0.1:9/v1"
