"""The command, with questions and a server of the test's."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from duplex.audio.files import write_wav
from duplex.cli.main import main
from tests._support.answering import AnsweringServer
from tests._support.endpoint import endpoint, status


@contextlib.contextmanager
def in_thread(context: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    """Hold it in a thread of its own: the command has its own event loop."""
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    held: list[Any] = []

    async def hold() -> None:
        async with context as value:
            held.append(value)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(hold()))
    thread.start()
    assert ready.wait(10)
    yield held[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """Answers everything with yes."""
    with in_thread(AnsweringServer(lambda parts: "The answer is yes.").running()) as answering:
        yield answering


def questions(tmp_path: Path) -> list[str]:
    """A folder of two questions, and where the report goes."""
    data = tmp_path / "data"
    data.mkdir()
    examples = [{"input": "Is it?", "target": "Yes"}, {"input": "Is it not?", "target": "No"}]
    (data / "bbh_navigate.json").write_text(json.dumps({"examples": examples}))
    return ["--data", str(data), "--out", str(tmp_path / "out")]


@pytest.fixture
def silent_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No models are loaded for the questions' sound."""
    import numpy as np

    monkeypatch.setattr(
        "duplex.cli.recordings.CachedSpeaker.__call__",
        lambda *args, **options: np.full(2400, 0.1, np.float32),
    )


@pytest.mark.usefixtures("silent_voice")
def test_a_set_is_asked_scored_shown_and_compared(
    server: AnsweringServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["eval", "spoken", "--url", server.url, *questions(tmp_path)]
    assert main([*asked, "--fail-if", "accuracy<0.5"]) == 0
    told = capsys.readouterr().out
    assert "1 of 2    50.0 %" in told
    assert "licence: MIT" in told
    assert len(server.asked) == 4
    assert main([*asked, "--fail-if", "accuracy<0.6"]) == 3
    assert len(server.asked) == 4  # nothing is asked again
    out = tmp_path / "out"
    assert json.loads((out / "eval.json").read_text())["metrics"]["text_accuracy"] == 0.5
    assert (out / "eval.html").exists()
    assert main(["eval", "--score", str(out)]) == 0
    assert main(["eval", "--compare", str(out), str(out)]) == 0
    assert "+0.0 points" in capsys.readouterr().out


@pytest.mark.usefixtures("silent_voice")
def test_answers_of_a_file_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.jsonl"
    lines = [{"id": "navigate-0", "answer": "Yes."}, {"id": "navigate-1", "answer": "Perhaps."}]
    answers.write_text("\n".join(map(json.dumps, lines)))
    asked = ["eval", "spoken", "--target", f"file:{answers}", *questions(tmp_path)]
    assert main(asked) == 0
    assert "1 of 2    50.0 %" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert written["metrics"]["invalid_rate"] == 0.5
    assert written["run"]["target"] == f"file:{answers}"
    other = [*asked[:3], "file:/dev/null", *asked[4:]]
    assert main(other) == 2  # the answers of one target are not taken for another's
    assert "holds another run" in capsys.readouterr().err


def test_a_judge_scores_what_no_rule_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"user_query": "Hello?", "checklist": "is kind", "category": "OE", "audio": "a.wav"}
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.jsonl").write_text(json.dumps(row))
    write_wav(data / "a.wav", [0.1] * 2400, 24_000)
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": "0", "answer": "Hello, how are you?"}')
    asked = ["eval", "wildspeech_bench", "--data", str(data), "--target", f"file:{answers}"]
    asked += ["--out", str(tmp_path / "out")]
    assert main(asked) == 0
    assert "not scored" in capsys.readouterr().out
    said = {"choices": [{"message": {"content": "Kind. Score: 7"}}]}
    with in_thread(endpoint(status(200, json.dumps(said)))) as judge:
        assert main([*asked, "--judge", judge.base_url, "--judge-model", "judge"]) == 0
    prompts = [request.json["messages"][0]["content"] for request in judge.requests]
    assert len(prompts) == 2  # the question is asked as speech and as text
    assert all("Hello, how are you?" in p and "is kind" in p for p in prompts)
    written = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert written["metrics"]["accuracy"] == 0.7
    assert written["run"]["judge"].startswith("judge at http://127.0.0.1")
    assert "1 rows, where wildspeech_bench has 1100" in written["run"]["notes"]


@pytest.mark.slow
def test_our_own_server_answers_for_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "sounds", "--limit", "3", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "6 of 6 answered" in told
    written = json.loads((tmp_path / "eval.json").read_text())
    assert written["run"]["models"]["brain"] == "qwen2.5-coder-0.5b"
    assert written["metrics"]["error_rate"] == 0


def test_the_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--list"]) == 0
    told = capsys.readouterr().out
    assert "sounds" in told
    assert "CC-BY 4.0" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a set"),
        (["guess"], "there is no set guess"),
        (["spoken"], "needs --data"),
        (["sounds", "--target", "ftp:x"], "it is one of realtime:"),
        (["sounds", "--url", "ws://a", "--target", "realtime:ws://b"], "give one"),
        (["sounds", "--key-env", "NO_SUCH_VARIABLE"], "there is no environment variable"),
        (["--score", "/nowhere"], "holds no run"),
    ],
)
def test_wrong_usage_is_said(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_server_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    assert main(["eval", "sounds", "--limit", "1", "--url", "ws://127.0.0.1:9", *out]) == 1
    assert "no server at" in capsys.readouterr().out
