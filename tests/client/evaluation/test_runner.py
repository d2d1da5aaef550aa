"""Runs: every answer is kept at once, and a run that was stopped goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.evaluation.items import Answer, Item, Record, Sound, read_records
from client.evaluation.runner import ANSWERS, Aborted, RunOptions, listen, run
from client.evaluation.targets.realtime import RealtimeOptions, RealtimeTarget
from client.evaluation.targets.target import Rendered
from tests._support.answering import AnsweringServer


def items(count: int, answer: int = 3) -> list[Item]:
    sound = Sound(lambda: np.full(2400, 0.1, np.float32), "how many")
    return [
        Item(f"q-{n}", condition, "q", (part, f"Number {n}?"), "number", {"answer": answer})
        for n in range(count)
        for condition, part in (("sound", sound), ("text", "how many"))
    ]


class Table:
    """Answers by a rule, and counts."""

    def __init__(self, rule: Callable[[Item], Answer]) -> None:
        self.rule = rule
        self.asked: list[tuple[str, str]] = []

    async def ask(self, item: Item, sounds: Rendered) -> Answer:
        assert set(sounds) == {i for i, part in enumerate(item.parts) if isinstance(part, Sound)}
        self.asked.append(item.key)
        return self.rule(item)


def quiet(_: str) -> None:
    pass


async def test_every_item_is_asked_once_and_kept(tmp_path: Path) -> None:
    table = Table(lambda item: Answer(f"{item.id} 3", heard="how", tokens={"output_tokens": 1}))
    told: list[str] = []
    records = await run(items(3), table, tmp_path, RunOptions(), told.append)
    assert [r.key for r in records] == [i.key for i in items(3)] == table.asked
    assert read_records(tmp_path / ANSWERS) == records
    assert records[0].prompt[0].startswith("[sound, 0.1 s, ")
    assert records[0].prompt[0].endswith(": how many]")
    assert records[1].prompt == ["how many", "Number 0?"]
    assert told[-1] == "6 of 6 answered"


async def test_a_stopped_run_asks_only_what_has_no_answer(tmp_path: Path) -> None:
    broken = Table(lambda i: Answer(error="lost") if i.id == "q-1" else Answer("3"))
    await run(items(2), broken, tmp_path, RunOptions(), quiet)
    with (tmp_path / ANSWERS).open("ab") as file:
        file.write(b'{"id": "q-2", "cond')  # killed in mid-write
    table = Table(lambda item: Answer("4"))
    records = await run(items(3), table, tmp_path, RunOptions(), quiet)
    assert table.asked == [(f"q-{n}", c) for n in (1, 2) for c in ("sound", "text")]
    assert [r.answer for r in records] == ["3", "3", "4", "4", "4", "4"]
    assert all(r.error is None for r in read_records(tmp_path / ANSWERS))
    for line in (tmp_path / ANSWERS).read_text().splitlines():
        json.loads(line)


async def test_answers_to_other_questions_are_not_taken_for_these(tmp_path: Path) -> None:
    await run(items(1), Table(lambda item: Answer("3")), tmp_path, RunOptions(), quiet)
    with pytest.raises(ValueError, match="another question q-0"):
        await run(
            items(1, answer=4), Table(lambda item: Answer("3")), tmp_path, RunOptions(), quiet
        )


async def test_a_target_that_fails_again_and_again_ends_the_run(tmp_path: Path) -> None:
    table = Table(lambda item: Answer(error="no model"))
    with pytest.raises(Aborted, match="2 failed in a row, the last with: no model"):
        await run(items(5), table, tmp_path, RunOptions(failures=2), quiet)
    assert len(table.asked) == 2
    assert len(read_records(tmp_path / ANSWERS)) == 2


async def test_questions_are_open_at_the_same_time_over_real_sockets(tmp_path: Path) -> None:
    async with AnsweringServer(lambda parts: "3").running() as server:
        target = RealtimeTarget(server.url, RealtimeOptions())
        records = await run(items(8), target, tmp_path, RunOptions(parallel=4), quiet)
    assert len(records) == len(server.asked) == 16
    assert 1 < server.most_calls <= 4


async def test_a_server_that_goes_away_leaves_what_it_answered(tmp_path: Path) -> None:
    server = AnsweringServer(lambda parts: "3", drops=frozenset({2, 3, 4}))
    async with server.running():
        target = RealtimeTarget(server.url, RealtimeOptions())
        with pytest.raises(Aborted, match="on fire"):
            await run(items(8), target, tmp_path, RunOptions(failures=3), quiet)
        assert [r.error is None for r in read_records(tmp_path / ANSWERS)] == [True] * 2 + [
            False
        ] * 3
        records = await run(items(8), target, tmp_path, RunOptions(failures=3), quiet)
    assert all(record.error is None for record in records)


async def test_spoken_answers_are_kept_and_listened_to_once(tmp_path: Path) -> None:
    samples = np.full(2400, 0.1, np.float32)
    table = Table(lambda item: Answer("four", samples=samples))
    records = await run(items(1)[:1], table, tmp_path, RunOptions(), quiet)
    assert records[0].speech == "speech/q-0.sound.wav"
    heard: list[Path] = []

    def hear(path: Path) -> str:
        heard.append(path)
        return "three"

    listened = listen(records, tmp_path, hear)
    assert listened == listen(listened, tmp_path, hear)
    assert heard == [tmp_path / "speech/q-0.sound.wav"]
    assert listened[0].scored_text == "three"


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ANSWERS
    path.write_text('{"id": "q"\n{}\n')
    with pytest.raises(ValueError, match="line 1"):
        read_records(path)
    assert read_records(tmp_path / "none.jsonl") == []


def test_records_know_all_that_scoring_needs() -> None:
    record = Record("q", "text", "q", ["?"], "number", {"answer": 3}, answer="3")
    assert record.scored_text == "3"
