"""`duplex bench`: arguments in, exit code out; its own error is measured elsewhere."""

import argparse
import asyncio
import base64
import contextlib
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.server import serve

from client.bench.result import Check, MeasuringError
from client.bench.stats import summarise
from duplex.audio.files import write_wav
from duplex.audio.formats import encode_pcm16
from duplex.cli import bench as benchmark
from duplex.cli import bench_options as bench_command
from duplex.cli import main as cli
from duplex.errors import ConfigError


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    bench_command.add_arguments(parser)
    parser.add_argument("--model")
    return bench_command.wanted(parser.parse_args(arguments))


def test_what_is_asked_for_without_arguments():
    wanted = parsed()
    assert wanted.server is None
    assert wanted.scoring
    assert (wanted.scope.turns, wanted.scope.events) == (24, 12)
    assert wanted.scope.call_counts == [2, 4, 8]
    assert (wanted.scope.line.loss, wanted.scope.line.jitter_ms) == (0.05, 60)


def test_a_foreign_server_with_all_it_wants(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    wanted = parsed(
        *("--url", "wss://api.example.com/v1/realtime?model=x", "--key-env", "SOME_KEY"),
        *("--header", "X-Org: ours", "--foreign", "--model", "large", "--fail-if", "v2v_p50_ms>6"),
    )
    assert wanted.server is not None
    assert wanted.server.key == "secret"
    assert wanted.server.name == "api.example.com"
    assert wanted.server.headers == {"X-Org": "ours"}
    assert wanted.server.model == "large"
    assert wanted.foreign
    assert wanted.conditions[0].metric == "v2v_p50_ms"


def test_two_servers_have_names():
    wanted = parsed("--url", "ws://a:1", "--against", "ws://b:1", "--name", "old")
    assert wanted.server is not None
    assert wanted.against is not None
    assert (wanted.server.name, wanted.against.name) == ("old", "b:1")


def test_quick_is_one_of_each():
    scope = parsed("--quick").scope
    assert (scope.turns, scope.events, scope.call_counts) == (1, 1, [2])
    assert "history" not in scope.scenarios


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key", "a", "--key-env", "B", "--url", "ws://a"),
        ("--key-env", "THERE_IS_NO_SUCH_VARIABLE", "--url", "ws://a"),
        ("--url", "ws://a", "--against", "ws://a"),
        ("--line-buffer-ms", "30"),
        ("--name", "a", "--name", "b", "--name", "c"),
    ],
)
def test_contradictions_are_told(arguments):
    with pytest.raises(ConfigError):
        parsed(*arguments)
    assert cli.main(["bench", *arguments]) == benchmark.USAGE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fail-if", "v2v>6"), "there is no metric v2v"),
        (("--fail-if", "v2v_p50_ms"), "is no condition"),
        (("--scenarios", "short,silly"), "unknown scenario silly"),
        (("--calls", "1,x"), "'x' is not a number"),
        (("--turns", "0"), "'0' is not a number from 1"),
        (("--header", "nonsense"), "is no header"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["bench", *arguments])
    assert error.value.code == 2
    assert words in capsys.readouterr().err


def test_no_key_is_in_the_report():
    told = bench_command.told_command(
        ["bench", "--key", "secret", "--against-key=secret", "--header", "X: secret", "--quick"]
    )
    assert told == "duplex bench --key ... --against-key=... --header ... --quick"
    told = bench_command.told_command(
        ["bench", "--url", "wss://u:pw@h/v1?api-key=secret", "--against=wss://h:1/?k=secret"]
    )
    assert told == "duplex bench --url wss://h/v1 --against=wss://h:1/"
    told = bench_command.told_command(["bench", "--set", "brain.base_url=http://u:pw@h/v1"])
    assert told == "duplex bench --set brain.base_url=http://h/v1"


@pytest.mark.parametrize("argument", ["--head=X: y", "--ke=y", "--against-ke=y", "--ur=ws://h"])
def test_an_option_is_written_out(argument, capsys):
    """So that what is hidden in the report is known by its name."""
    with pytest.raises(SystemExit):
        cli.main(["bench", argument, "--list-metrics"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_server_is_not_called_by_its_key():
    wanted = parsed("--url", "wss://user:secret@h:1/v1?k=secret")
    assert wanted.name == "h:1"


async def answer(websocket):
    """A server of the plainest kind: 20 chunks after a loud one it answers, once a call."""
    heard, chunks = False, 0

    async def send(kind, **fields):
        await websocket.send(json.dumps({"type": kind, "event_id": "e", **fields}))

    await send("session.created", session={"model": "plain"})
    async for message in websocket:
        event = json.loads(message)
        if event["type"] == "session.update":
            assert "duplex" not in event["session"]
            await send("session.updated", session=event["session"])
        elif event["type"] == "input_audio_buffer.append":
            pcm = np.frombuffer(base64.b64decode(event["audio"]), "<i2")
            heard = heard or int(np.abs(pcm).max()) > 8000
            chunks += heard
            if chunks == 20:
                ids = {"response_id": "r", "item_id": "a"}
                await send("input_audio_buffer.committed", item_id="c")
                transcription = "conversation.item.input_audio_transcription.completed"
                await send(transcription, item_id="c", transcript="What is it?")
                await send("response.created", response={"id": "r"})
                sound = encode_pcm16(np.tile([0.5, -0.5], 1200).astype(np.float32))
                delta = base64.b64encode(sound).decode()
                await send("response.output_audio.delta", delta=delta, **ids)
                await send("response.done", response={"id": "r", "status": "completed"})


@contextlib.contextmanager
def in_a_thread(handler):
    """Serve there: the command has an event loop of its own."""
    loop = asyncio.new_event_loop()
    ready: list[str] = []
    up, over = threading.Event(), asyncio.Event()

    async def main():
        async with serve(handler, "127.0.0.1", 0) as server:
            ready.append(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert up.wait(90)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def plain_server():
    with in_a_thread(answer) as url:
        yield url


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """What needs no model and takes a second."""

    async def known(clicks):
        found = summarise([1.0, 2.0])
        assert found is not None
        return MeasuringError(found, None, (1.0, 2.0), ())

    monkeypatch.setattr(benchmark, "measure_error", known)
    wav = np.tile([0.5, -0.5], 1200).astype(np.float32)
    write_wav(tmp_path / "question.wav", wav, 24_000)
    (tmp_path / "question.txt").write_text("What is it?")
    return [
        *("bench", "--quick", "--foreign", "--no-scoring", "--scenarios", "short"),
        *("--recordings", str(tmp_path), "--out", str(tmp_path / "out")),
    ]


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("condition", "code"),
    [("v2v_p50_ms<0", 0), ("v2v_p50_ms>=0", 3), ("phone_added_ms>150", 3)],
)
def test_a_gate_in_ci(plain_server, arguments, condition, code, tmp_path, capsys):
    assert cli.main([*arguments, "--url", plain_server, "--fail-if", condition]) == code
    table = json.loads((tmp_path / "out" / "bench.json").read_text())
    found = table["results"][0]
    assert found["metrics"]["question_wer"] == 0
    assert found["models"] == {}
    assert found["session"]["model"] == "plain"
    assert (tmp_path / "out" / "bench.html").exists()
    assert ("MISSED" in capsys.readouterr().out) == (code == 3)


@pytest.mark.realtime
def test_every_call_lost_is_an_error(arguments, tmp_path, capsys):
    async def refuse(websocket):
        await websocket.send(json.dumps({"type": "session.created", "session": {}}))
        async for message in websocket:
            if json.loads(message)["type"] != "session.update":
                await websocket.close(1011, "no more")
                return
            await websocket.send(json.dumps({"type": "session.updated", "session": {}}))

    with in_a_thread(refuse) as url:
        assert cli.main([*arguments, "--url", url]) == 1
    assert "every call was refused or lost" in capsys.readouterr().out
    assert (tmp_path / "out" / "bench.json").exists()


def test_a_goal_that_few_events_cannot_bear_is_not_simply_met():
    few = Check("false_stop_rate", "below 0.03", 0.0, True, False, 10, (0.0, 0.28), False)
    line = benchmark.check_line(few)
    assert line == "goal: false_stop_rate: 0 in 10 (below 0.03) met in 10, too few"
    enough = replace(few, n=200, interval=(0.0, 0.02), sure=True)
    assert benchmark.check_line(enough).endswith(" met")


def test_nobody_there_is_one_line(arguments, capsys):
    assert cli.main([*arguments, "--url", "ws://127.0.0.1:1"]) == 1
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("error: no server at ws://")


def test_recordings_that_are_not_there_are_wrong_usage(tmp_path, capsys):
    folder = tmp_path / "nothing"
    folder.mkdir()
    command = ["bench", "--url", "ws://127.0.0.1:1", "--recordings", str(folder)]
    assert cli.main(command) == 2
    assert "there is no .wav file" in capsys.readouterr().err
