"""Each published set end to end, on three rows that the test makes: loader, server, rule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from client.evaluation.results import figures, scored
from client.evaluation.runner import RunOptions, run
from client.evaluation.sets import published
from client.evaluation.sets.catalogue import ABOUT, Wanted, load
from client.evaluation.sets.rows import read_rows
from client.evaluation.targets.realtime import RealtimeOptions, RealtimeTarget
from duplex.audio.files import write_wav
from tests._support.answering import AnsweringServer, Asked

RATE = 16_000
Rows = list[dict[str, Any]]


def sound(folder: Path, name: str, seconds: float) -> str:
    """A recording whose length tells which it is."""
    (folder / "audio").mkdir(exist_ok=True)
    write_wav(folder / "audio" / f"{name}.wav", np.full(round(seconds * RATE), 0.1), RATE)
    return f"audio/{name}.wav"


def in_json(folder: Path, name: str, rows: Rows) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(map(json.dumps, rows)) + "\n")


def in_parquet(folder: Path, name: str, rows: Rows, column: str = "audio") -> None:
    """As the hub keeps them: the sound inside, as a struct of bytes and path."""
    held = [
        {**row, column: {"bytes": (folder / row[column]).read_bytes(), "path": row[column]}}
        for row in rows
    ]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(held), folder / name, row_group_size=2)


def big_bench_audio(folder: Path) -> None:
    rows: Rows = [
        {"id": 1, "category": "navigate", "official_answer": "Yes"},
        {"id": 2, "category": "formal_fallacies", "official_answer": "invalid"},
        {"id": 3, "category": "object_counting", "official_answer": "7"},
    ]
    for n, row in enumerate(rows):
        row["file_name"] = sound(folder, str(n), 0.1 * (n + 1))
    in_json(folder, "metadata.jsonl", rows)


def spoken_mqa(folder: Path) -> None:
    rows = [
        {
            "context": sound(folder, str(n), 0.1 * (n + 1)),
            "context_transcript": f"What are {n} and {n}?",
            "instruction": {"text": "Solve it."},
            "answer": {"text": gold},
        }
        for n, gold in enumerate(("0", "1 + 1 = 2\n#### 2", "#### 1,004"))
    ]
    in_parquet(folder, "data/short_digit-00000-of-00001.parquet", rows, "context")


def mmsu(folder: Path) -> None:
    rows = [
        {
            "id": f"m{n}",
            "task_name": ("gender", "accent")[n % 2],
            "question": "Who speaks?",
            "answer_gt": gold,
            "audio": sound(folder, str(n), 0.1 * (n + 1)),
            **dict(zip("abcd", ("a man", "a woman", "a child", "twenty-one"), strict=True)),
        }
        for n, gold in enumerate(("a woman", "a child", "twenty one"))
    ]
    named = [
        {f"choice_{name}" if name in "abcd" else name: v for name, v in r.items()} for r in rows
    ]
    in_parquet(folder, "data/train-00000-of-00001.parquet", named)


def choices(folder: Path) -> None:
    rows = [
        {
            "id": f"q{n}",
            "question": "What is it?",
            "choices": ["a dog", "a cat"],
            "answer": gold,
            "task": "sound",
            "modality": "sound",
            "audio_path": sound(folder, str(n), 0.1 * (n + 1)),
        }
        for n, gold in enumerate(("a dog", "a cat", "a dog"))
    ]
    (folder / "meta.json").write_text(json.dumps(rows))


def wildspeech(folder: Path) -> None:
    rows = [
        {
            "user_query": f"Question {n}",
            "checklist": ["is kind", "is short"],
            "category": "OE",
            "audio": sound(folder, str(n), 0.1 * (n + 1)),
        }
        for n in range(3)
    ]
    in_json(folder, "test.jsonl", rows)


def uro(folder: Path) -> None:
    rows = [
        {
            "source_text": f"Question {n}",
            "target_text": f"Answer {n}",
            "source_wav": sound(folder, str(n), 0.1 * (n + 1)),
        }
        for n in range(3)
    ]
    in_json(folder, "basic/GaokaoEval/test.jsonl", rows)


def speech_ifeval(folder: Path) -> None:
    def row(n: int, **more: object) -> dict[str, Any]:
        return {
            "audio_filepath": sound(folder, str(n), 0.1 * (n + 1)),
            "seed_transcript": f"words {n}",
            "instruction": "Write it down without commas.",
            **more,
        }

    rules = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]}
    in_json(folder, "closed_ended_questions.jsonl", [row(0, **rules), row(1, **rules)])
    in_json(folder, "chain-of-thought.jsonl", [row(2)])


def facts(folder: Path) -> None:
    rows = [
        {
            "question": f"where is number {n}?",
            "answers": golds,
            "audio": sound(folder, str(n), 0.1 * (n + 1)),
        }
        for n, golds in enumerate((["Berlin"], ["Rome", "Roma"], ["Oslo"]))
    ]
    in_parquet(folder, "data/test-00000-of-00001.parquet", rows)


def lat(folder: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<audio>When does it ring?"},
                {"role": "assistant", "content": gold},
            ],
            "audios": [sound(folder, str(n), 0.1 * (n + 1))],
        }
        for n, gold in enumerate(("[00:10-00:20]", "[1:00:00-1:00:10]", "[00:00-00:04]"))
    ]
    in_json(folder, "task/bench-EN-TAG.jsonl", rows)
    in_json(folder, "task/bench-EN-DAC.jsonl", [{"other": 1}])


def cea(folder: Path) -> None:
    rows = [
        {
            "audio_path": sound(folder, str(n), 0.1 * (n + 1)),
            "novel_context": "It rained.",
            "target_line": "Go away!",
            "lang": "zh",
            "human_score": human,
        }
        for n, human in enumerate((1.0, 3.0, 5.0))
    ]
    in_json(folder, "test.jsonl", rows)


def which(parts: Asked) -> int:
    """The number of the row, by the length of its sound."""
    (samples,) = [part for part in parts if isinstance(part, int)]
    return round((samples / 24_000 - 0.5) * 10) - 1


SETS: dict[str, tuple[Callable[[Path], None], str, list[str], list[float | None]]] = {
    # set: its rows; the condition with sound; the answers given, row by row; their scores
    "big_bench_audio": (big_bench_audio, "speech", ["Yes.", "valid", "7 of 9"], [1, 0, 1]),
    "spoken_mqa": (spoken_mqa, "speech", ["0", "The answer is 3", "#### 1004"], [1, 0, 1]),
    "mmsu": (mmsu, "sound", ["B", "The answer is A.", "twenty-one"], [1, 0, 1]),
    "mmau_mini": (choices, "sound", ["a dog", "A. a dog", "a dog, no cat"], [1, 0, 0]),
    "mmar": (choices, "sound", ["It is a dog", "a cat", "dog"], [1, 1, 0]),
    "wildspeech_bench": (wildspeech, "speech", ["a", "b", "c"], [None] * 3),
    "uro_bench": (uro, "speech", ["a", "b", "c"], [None] * 3),
    "speech_ifeval": (speech_ifeval, "speech", ["words", "words, 1", "so"], [1, 0, None]),
    "speech_triviaqa": (facts, "speech", ["Berlin", "in roma.", "Paris"], [1, 1, 0]),
    "speech_web_questions": (facts, "speech", ["Berliner", "Rome", "oslo"], [0, 1, 1]),
    "lat_bench": (lat, "sound", ["[00:10-00:20]", "1:00:05-1:00:10", "soon"], [1, 0.5, 0]),
    "ceaeval": (cea, "sound", [f"<score>{x}</score>" for x in (1.5, 2.0, 4.5)], [None] * 3),
}


@pytest.mark.parametrize("name", published.SPECS)
async def test_a_set_is_loaded_asked_and_scored(name: str, tmp_path: Path) -> None:
    make, condition, answers, expected = SETS[name]
    data = tmp_path / "data"
    data.mkdir()
    make(data)
    loaded = load(name, Wanted(data=str(data)), speaker=None)  # type: ignore[arg-type]
    items = [item for item in loaded.items if item.condition == condition]
    async with AnsweringServer(lambda parts: answers[which(parts)]).running() as server:
        target = RealtimeTarget(server.url, RealtimeOptions())
        records = await run(items, target, tmp_path / "data", RunOptions(), print)
    assert [record.error for record in records] == [None] * 3
    rows = [which(parts) for parts in server.asked]
    assert sorted(rows) == [0, 1, 2]
    by_row = dict(zip(rows, (score.value for _, score in scored(records)), strict=True))
    assert [by_row[n] for n in range(3)] == expected
    known = published.SPECS[name].rows
    assert loaded.notes == ([f"3 rows, where {name} has {known}"] if known else [])


def test_every_set_is_tried_and_says_its_licence() -> None:
    assert set(SETS) == set(published.SPECS) <= set(ABOUT)
    assert all(about.licence and about.rule and about.origin for about in ABOUT.values())


def test_published_figures_have_their_source() -> None:
    for about in ABOUT.values():
        assert all(one.who and one.figure and one.source for one in about.published)


async def test_a_judge_of_speech_is_compared_with_people(tmp_path: Path) -> None:
    make, _, answers, _ = SETS["ceaeval"]
    make(tmp_path)
    items = load("ceaeval", Wanted(data=str(tmp_path)), speaker=None).items  # type: ignore[arg-type]
    async with AnsweringServer(lambda parts: answers[which(parts)]).running() as server:
        target = RealtimeTarget(server.url, RealtimeOptions())
        records = await run(items, target, tmp_path, RunOptions(), print)
    measures = figures(scored(records)).measures
    assert measures["human"] == 3.0
    assert measures["spearman"] == pytest.approx(1.0)
    assert measures["pearson"] == pytest.approx(0.9333, abs=1e-3)


def test_words_are_asked_as_text_where_the_set_has_them(tmp_path: Path) -> None:
    spoken_mqa(tmp_path)
    items = load("spoken_mqa", Wanted(data=str(tmp_path)), speaker=None).items  # type: ignore[arg-type]
    assert [item.condition for item in items] == ["speech", "text"] * 3
    assert items[0].id == items[1].id
    assert items[1].parts[1] == "What are 0 and 0?"
    assert {item.category for item in items} == {"short_digit"}


def test_a_limit_draws_rows_and_keeps_them_when_it_grows(tmp_path: Path) -> None:
    choices(tmp_path)

    def ids(limit: int, seed: int = 0) -> set[str]:
        wanted = Wanted(limit=limit, seed=seed, data=str(tmp_path))
        return {item.id for item in load("mmar", wanted, speaker=None).items}  # type: ignore[arg-type]

    assert len(ids(1)) == 1
    assert ids(1) < ids(2) < ids(3)
    assert len({next(iter(ids(1, seed))) for seed in range(12)}) > 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": "?"}], "mmar needs a column choices; there are question"),
        (
            [{"question": "?", "choices": "a", "answer": "a", "modality": "s", "audio": "x.wav"}],
            "choices is no list",
        ),
        (["text"], "it is no table of columns"),
    ],
)
def test_data_of_another_shape_are_refused(tmp_path: Path, rows: list, words: str) -> None:
    (tmp_path / "meta.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=words):
        load("mmar", Wanted(data=str(tmp_path)), speaker=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b"{", "is no JSON"),
        ("x.json", b"{}", "is no list of rows"),
        ("x.parquet", b"PAR1", "is no parquet file"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        list(read_rows(tmp_path, ["*.json", "*.parquet"]))


def test_no_data_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no file"):
        load("mmar", Wanted(data=str(tmp_path)), speaker=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no such folder"):
        load("mmar", Wanted(data=str(tmp_path / "none")), speaker=None)  # type: ignore[arg-type]


def test_a_row_reads_no_file_outside_the_data(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"secret")
    data = tmp_path / "data"
    data.mkdir()
    in_json(data, "rows.jsonl", [{"audio": "../secret.wav"}, {"audio": str(data / "no.wav")}])
    for row in read_rows(data, ["*.jsonl"]):
        with pytest.raises(ValueError, match="which is not in"):
            row.sound("audio").render()
