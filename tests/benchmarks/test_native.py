"""The GPU benchmark's plumbing: every section runs on a tiny model, and failures stay in theirs."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.native import delay_curve
from benchmarks.native.capacity import Found, Voice
from benchmarks.native.record import Record
from benchmarks.native.sections import CALLS, MODELS, Bench, seconds_needed
from benchmarks.native.table import table

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """The three calls as they are made on a GPU, and all that they found."""
    data: dict[str, Any] = {}
    code = 0
    for call in CALLS:
        out = tmp_path_factory.mktemp(f"gpu-{call}")
        given = ["--call", call, "--model", "tiny", "--device", "cpu", "--out", str(out)]
        code |= gpu.main(given)
        for kind, found in json.loads((out / "gpu.json").read_text()).items():
            data[kind] = data.get(kind, {}) | found if isinstance(found, dict) else found
    return data, code


def test_every_section_has_its_figures(run: tuple[dict[str, Any], int]) -> None:
    data, code = run
    assert data["failed"] == {}
    assert code == 0
    assert set(data["results"]) == set(gpu.tasks_of("tiny", None))
    assert data["circumstances"]["versions"]["torch"] == torch.__version__
    text = table(data)
    for words in ("incremental p50", "tok/s", "tokens equal", "first clause", "kernels: 46 cases"):
        assert words in text


def test_what_is_measured_is_what_was_asked_for(run: tuple[dict[str, Any], int]) -> None:
    data, _ = run
    scale = MODELS["tiny"][1]
    curve = data["results"]["tiny/curve"]
    for way in ("incremental", "batch"):
        entries = curve[way]["first_token_ms"]
        assert [entry["n"] for entry in entries] == [scale.sweeps] * len(scale.turns_s)
    packet = data["results"]["tiny/first_packet"]
    # A thought without text (a special token's) cannot be told from none.
    assert packet["none"]["thoughts_before"] == [0]
    assert scale.segment - 3 <= packet["think_first"]["thoughts_before"][0] <= scale.segment
    assert scale.thoughts - 6 <= packet["before"]["thoughts_before"][0] <= scale.thoughts
    encoder = data["results"]["tiny/encoder"]
    for way in ("eager", "graphs"):
        assert list(encoder[way]) == [str(count) for count in scale.encoder_calls]
    assert encoder["difference"] < 1e-4
    for count, both in data["results"]["tiny/voice"]["utterances"].items():
        for way in ("in_turn", "together"):
            assert both[way]["chunk_of_all_ms"]["n"] == scale.voice.chunks - 1, count
        assert both["difference"] < 1e-4
    kernels = data["results"]["tiny/kernels"]
    assert all(one["ok"] for one in kernels)


def test_greedy_text_is_that_of_transformers(run: tuple[dict[str, Any], int]) -> None:
    data, _ = run
    for one in data["results"]["tiny/transformers"]["rows"]:
        for agreement in one["agreement"]:
            assert agreement["equal_before_first_difference"] == agreement["tokens"]
            assert agreement["equal_after_same_words"] == agreement["tokens"]


def test_a_failed_section_is_written_down_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Bench, section: str, keep: Callable[[dict[str, Any]], None]) -> str:
        if section == "curve":
            keep({"first part": 1})
            raise ValueError("no luck")
        return section

    monkeypatch.setattr(Bench, "run", run)
    record = Record.open(tmp_path / "gpu.json")
    tasks = ["floors", "tiny/curve", "tiny/encoder"]
    gpu.run_here(record, tasks, CPU, time.time() + 1000)
    again = Record.open(record.path)
    assert again.data["failed"] == {"tiny/curve": "ValueError: no luck"}
    assert again.data["results"] | {"floors": 0} == {
        "floors": 0,
        "tiny/curve": {"first part": 1},
        "tiny/encoder": "encoder",
    }
    assert again.data["partial"] == {"tiny/curve": ["first part"]}
    assert set(again.data["seconds"]) == set(tasks)


def test_what_the_budget_does_not_hold_is_named(tmp_path: Path) -> None:
    record = Record.open(tmp_path / "gpu.json")
    gpu.run_here(record, ["32b/curve"], CPU, time.time() + 1)
    assert "1 were left" in record.data["skipped"]["32b/curve"]
    assert record.data["results"] == {}


def test_another_process_goes_on_after_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first dies in its second task, the next loses the device in its first."""
    path = tmp_path / "gpu.json"
    asked: list[list[str]] = []

    def child(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        tasks = command[command.index("--tasks") + 1].split(",")
        asked.append(tasks)
        record = Record.open(path)
        if len(asked) == 1:
            record.put("results", tasks[0], 1)
            record.keep(tasks[1], {"half": 1})
            return subprocess.CompletedProcess(command, -11)
        if len(asked) == 2:
            record.put("failed", tasks[0], "illegal memory access")
            return subprocess.CompletedProcess(command, gpu.DEVICE_LOST)
        for task in tasks:
            record.put("results", task, 1)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", child)
    gpu.run_apart(path, ["a", "b", "c", "d", "e"], "cuda", time.time() + 100)
    assert asked == [["a", "b", "c", "d", "e"], ["c", "d", "e"], ["d", "e"]]
    data = Record.open(path).data
    assert data["results"] == {"a": 1, "b": {"half": 1}, "d": 1, "e": 1}
    assert data["failed"] == {"b": "the process ended with -11", "c": "illegal memory access"}


def test_three_calls_measure_everything_once_and_each_in_nine_minutes() -> None:
    every = [task for call in CALLS.values() for task in call]
    assert sorted([gpu.FLOORS, *every]) == sorted(gpu.tasks_of("both", None))
    for call in CALLS.values():
        sections = sum(seconds_needed(*task.split("/")) for task in call)
        models = {task.split("/")[0] for task in call}
        assert sections + 10 + 35 * len(models) < 540  # floors; building and process of each


def test_a_token_is_late_if_speech_has_reached_its_place() -> None:
    found = Found()
    voice = Voice(tokens_per_s=10.0, first_tokens=2)
    found.add_answer([0.0, 1.0, 1.05, 1.5], voice, tempo=1.0)
    assert found.late == pytest.approx([-0.05, 0.3])
    assert found.gaps == pytest.approx([1.0, 0.05, 0.45])


def test_the_delay_curve_is_measured_and_drawn() -> None:
    found = delay_curve.measure(MODELS["tiny"][0], (1, 2), 2)
    drawing = delay_curve.plot(found, "A title")
    lines = [drawing.partition(f'<g id="{way}">')[2] for way in ("incremental", "batch")]
    assert [line.partition("</g>\n   </g>")[0].count("<use") for line in lines] == [2, 2]
    assert "batch: longest / shortest" in drawing
    assert all(entry["n"] == 2 for entry in found["batch"]["heard_ms"])
