"""What `duplex doctor` finds, and what it says to do."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from duplex.cli.main import main


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*options: str) -> tuple[int, str]:
        cache = ("--set", f"models.cache_dir={tmp_path / 'cache'}")
        code = main(["doctor", "--port", "0", *cache, *options])
        return code, capsys.readouterr().out

    return run


def line(text: str, part: str) -> str:
    return next(one for one in text.splitlines() if one[4:].strip().startswith(part))


@pytest.fixture
def endpoint() -> Iterator[str]:
    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": [{"id": "qwen3"}]}')

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_missing_models_are_no_fault(doctor) -> None:
    code, text = doctor()
    assert code == 0
    assert line(text, "models").startswith("note")
    assert "`duplex models --install`" in text
    assert text.endswith("nothing is in the way\n")


def test_a_port_that_is_taken(doctor) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, text = doctor("--port", str(taken.getsockname()[1]))
    assert code == 1
    assert line(text, "port").startswith("FAIL")
    assert "choose another with --port" in text
    assert "1 of " in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "part", "told"),
    [
        (["--host", "0.0.0.0"], "keys", "set a key (DUPLEX_API_KEY"),
        (["--set", "server.tls_certificate=/no", "--set", "server.tls_key=/no"], "TLS", "No such"),
        (["--set", "server.prt=1"], "configuration", "did you mean 'port'"),
        (["--set", "brain.model=qwen"], "models", "no model is called 'qwen'"),
        (["--set", "brain.kind=huggingface"], "packages", "is a GGUF file"),
        (["--set", "brain.kind=vllm"], "packages", "pip install 'vllm>=0.32,<0.34'"),
        (["--set", "models.cache_dir=/proc/x"], "disk", "models.cache_dir"),
    ],
)
def test_what_fails_is_told_with_what_to_do(
    doctor, options: list[str], part: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DUPLEX_API_KEY", raising=False)
    code, text = doctor(*options)
    assert code == 1
    found = line(text, part)
    assert found.startswith("FAIL")
    assert told in found


def test_an_endpoint_is_asked(doctor, endpoint: str) -> None:
    brain = ["--set", "brain.kind=openai", "--set", f"brain.base_url={endpoint}"]
    code, text = doctor(*brain, "--set", "brain.model=qwen3")
    assert (code, line(text, "brain")) == (0, "ok    brain          answers and has the model")
    code, text = doctor(*brain, "--set", "brain.model=qwen2")
    assert code == 1
    assert "qwen3" in line(text, "brain")
    dead = ["--set", "brain.kind=openai", "--set", "brain.base_url=http://127.0.0.1:9/v1"]
    code, text = doctor(*dead, "--set", "brain.model=qwen3")
    assert code == 1
    assert "Connection refused" in line(text, "brain")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(["--version"])
    assert exit_code.value.code == 0
    assert capsys.readouterr().out.startswith("duplex-r1 0.")


def test_an_engine_that_does_not_answer(doctor) -> None:
    elsewhere = ("--set", "engine.kind=remote", "--set", "engine.url=ws://127.0.0.1:9")
    code, text = doctor(*elsewhere)
    assert code == 1
    assert "no engine answers" in line(text, "engine")
