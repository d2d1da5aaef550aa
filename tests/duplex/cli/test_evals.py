"""The command, with questions and a server of the test's."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from duplex.cli.main import main
from tests._support.answering import AnsweringServer


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """Answers everything with yes, in a thread of its own: the command has its own event loop."""
    answering = AnsweringServer(lambda parts: "The answer is yes.")
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with answering.running():
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield answering
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


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
