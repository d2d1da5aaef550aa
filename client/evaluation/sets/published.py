"""Published sets: where their rows are, what is asked of each, and what others measured.

No data are shipped. A row becomes items; where the set has the words of its sound, these are asked
as text, too, under the same id. What could not be checked against the data themselves is said so in
``rule``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from client.evaluation.about import About, Published
from client.evaluation.items import Item
from client.evaluation.sets import questions
from client.evaluation.sets.rows import Row, data_folder, read_rows

R1 = "Step-Audio-R1 technical report"


@dataclass(frozen=True, slots=True)
class Spec:
    """A set: the files its rows are in, the columns they must have (one of each group), and how
    many rows there are, if that is known."""

    about: About
    hub: str
    files: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: int | None
    ask: Callable[[Row], questions.Asking]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Items, and what is to be known of the data they are from."""

    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(spec: Spec, source: str | None, limit: int | None, seed: int) -> Loaded:
    """``limit`` rows of a set, drawn evenly, or all. With a larger limit the same ones are among
    them.

    Raises:
        ValueError: the data are not there, or are not what they should be.
        OSError: a file cannot be read.
    """
    folder = data_folder(source or spec.hub)
    rows = list(read_rows(folder, spec.files))
    for row in rows:
        _check(row, spec)
    notes = []
    if spec.rows is not None and len(rows) != spec.rows:
        notes.append(f"{len(rows)} rows, where {spec.about.name} has {spec.rows}")
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen = sorted(order[: limit or len(rows)])
    files = {row.file for row in rows}
    return Loaded([item for at in chosen for item in _items(rows[at], spec, len(files))], notes)


def _check(row: Row, spec: Spec) -> None:
    there = {*row.values, *row.sounds}
    for group in spec.columns:
        if not there & set(group):
            wanted, have = " or ".join(group), ", ".join(sorted(there))
            raise ValueError(
                f"{row.file}, row {row.number}: {spec.about.name} needs a column {wanted}; "
                f"there are {have}"
            )


def _items(row: Row, spec: Spec, files: int) -> list[Item]:
    asking = spec.ask(row)
    named = str(row.values.get("id") or row.number)
    item_id = named if files == 1 else f"{Path(row.file).with_suffix('').as_posix()}/{named}"
    return [
        Item(
            id=item_id,
            condition=condition,
            category=asking.category,
            parts=parts,
            scorer=asking.scorer,
            gold=asking.gold,
            instructions=asking.instructions,
            chance=asking.chance,
        )
        for condition, parts in asking.parts.items()
    ]


def _set(
    name: str,
    title: str,
    hub: str,
    licence: str,
    rule: str,
    ask: Callable[[Row], questions.Asking],
    columns: Sequence[str],
    rows: int | None = None,
    published: Sequence[tuple[str, str, str]] = (),
    files: Sequence[str] = ("*.parquet", "*.jsonl", "*.json"),
) -> Spec:
    """``columns``: each one name, or several with "|" of which one must be there."""
    figures = tuple(Published(*one) for one in published)
    about = About(name, title, hub, licence, rule, figures)
    groups = tuple(tuple(group.split("|")) for group in columns)
    return Spec(about, hub, tuple(files), groups, rows, ask)


UNVERIFIED = " The columns are from its documentation, not checked on the data."
FACTS = "Any accepted answer as a run of tokens (DPR's has_answer, as UltraEval-Audio)."
LEADERBOARD = "UltraEval-Audio, leaderboard"


def _facts(*figures: str) -> list[tuple[str, str, str]]:
    models = ("GPT-4o-Realtime", "Qwen3-Omni", "GLM-4-Voice", "Kimi-Audio")
    return [(who, figure, LEADERBOARD) for who, figure in zip(models, figures, strict=True)]


SPECS: dict[str, Spec] = {
    spec.about.name: spec
    for spec in (
        _set(
            "big_bench_audio",
            "Big Bench Audio",
            "ArtificialAnalysis/big_bench_audio",
            "MIT",
            "The first of the wanted words, or the first number (UltraEval-Audio's rule for "
            "Step-Audio-R1, with its instructions in English). Artificial Analysis itself uses a "
            "language model as the judge.",
            questions.big_bench_audio,
            ["category", "official_answer", "|".join(questions.AUDIO)],
            1000,
            [
                ("Step-Audio-R1", "98.7", R1),
                ("Step-Audio-R1 Realtime, speech to speech", "96.1", R1),
                ("GPT-4o, speech to speech", "66", "HF blog, big-bench-audio-release"),
                ("GPT-4o, text", "92", "HF blog, big-bench-audio-release"),
            ],
            files=("metadata.jsonl", "*.parquet"),
        ),
        _set(
            "spoken_mqa",
            "Spoken-MQA",
            "amao0o0/spoken-mqa",
            "not stated",
            "What follows the last 'the answer is' or '####', else the last number (AudioBench).",
            questions.spoken_mqa,
            ["answer", "context|audio"],
            None,
            [
                ("Step-Audio-R1", "95.2", R1),
                (
                    "none, think before, think first, speak first",
                    "70.6 / 93.0 / 93.9 / 92.8",
                    "Mind-Paced Speaking",
                ),
                (
                    "Whisper v3 + Llama-3-8B, by split",
                    "92.0 / 41.0 / 82.2 / 50.7",
                    "AudioBench, log_for_all_models",
                ),
            ],
        ),
        _set(
            "mmsu",
            "MMSU",
            "ddwang2000/MMSU",
            "MIT",
            "The letter in front or after 'answer is', else the text of one option.",
            questions.mmsu,
            [
                *("task_name", "question", "answer_gt", "|".join(questions.AUDIO)),
                *(f"choice_{letter}" for letter in "abcd"),
            ],
            5000,
            [
                ("Step-Audio-R1", "75.9", R1),
                ("human", "89.72", "MMSU README"),
                ("Gemini-1.5-Pro", "60.68", "MMSU README"),
                ("Qwen2.5-Omni-7B", "60.57", "MMSU README"),
                ("GPT-4o-Audio", "56.38", "MMSU README"),
            ],
        ),
        _set(
            "mmau_mini",
            "MMAU test-mini v05.15.25",
            "gamma-lab-umd/MMAU-test-mini",
            "not stated",
            "All words of the right option, and none that only another has (its evaluation.py).",
            questions.mmau,
            ["question", "choices", "answer", "task", "|".join(questions.AUDIO)],
            1000,
            [
                ("Step-Audio-R1", "77.7", R1),
                ("Step-Audio-R1.1, independent", "73.8", "UltraEval-Audio, step-audio-r1_1.md"),
            ],
        ),
        _set(
            "mmar",
            "MMAR",
            "BoJack/MMAR",
            "CC-BY-NC",
            "As MMAU's; its rubrics of the reasoning need a judge and are not scored here.",
            questions.mmau,
            ["question", "choices", "answer", "modality|category", "|".join(questions.AUDIO)],
            1000,
        ),
        _set(
            "wildspeech_bench",
            "WildSpeech-Bench",
            "tencent/WildSpeech-Bench",
            "CC-BY 4.0 and further terms",
            "A judge's 1 to 10 with the question's checklist, over 10; its prompt is worded anew."
            + UNVERIFIED,
            questions.wild_speech,
            ["user_query|query", "category|type", "|".join(questions.AUDIO)],
            1100,
            [("Step-Audio-R1 (of 100)", "70.6", R1)],
        ),
        _set(
            "uro_bench",
            "URO-Bench",
            "Honggao/URO-Bench",
            "not stated",
            "A judge's 1 to 5, over 5; its prompt is worded anew. Single turns." + UNVERIFIED,
            questions.uro,
            ["source_text|question", "|".join(questions.AUDIO)],
        ),
        _set(
            "speech_ifeval",
            "Speech-IFEval",
            "kehanlu/Speech-IFEval",
            "of LibriSpeech, IEMOCAP, MELD, Common Voice and MMAU, each its own",
            "IFEval's rules, strict; chain of thought: a judge's 'result: yes', of the answer "
            "without the thoughts. What speech costs is the forgetting rate's numerator.",
            questions.speech_ifeval,
            ["instruction", "audio_filepath|audio"],
            None,
            [
                ("DeSTA2, IFrate", "89.23", "Speech-IFEval README"),
                ("DiVA, IFrate", "76.13", "Speech-IFEval README"),
                ("Qwen2-Audio-Instruct, IFrate", "47.11", "Speech-IFEval README"),
                ("SALMONN, IFrate", "36.89", "Speech-IFEval README"),
            ],
            files=("*.jsonl",),
        ),
        _set(
            "speech_triviaqa",
            "TriviaQA, spoken",
            "TwinkStart/speech-triavia-qa",
            "not stated",
            FACTS,
            questions.spoken_facts,
            ["question", "answer|answers", "|".join(questions.AUDIO)],
            None,
            _facts("69.7", "55.3", "36.4", "38.2"),
        ),
        _set(
            "speech_web_questions",
            "WebQuestions, spoken",
            "TwinkStart/speech-web-questions",
            "not stated",
            FACTS,
            questions.spoken_facts,
            ["question", "answer|answers", "|".join(questions.AUDIO)],
            None,
            _facts("51.6", "51.5", "32.0", "33.7"),
        ),
        _set(
            "lat_bench",
            "LAT-Bench, temporal grounding (TAG)",
            "mcshao/LAT-Bench",
            "CC-BY-NC 4.0",
            "Intersection over union of [MM:SS-MM:SS]; unread is 0, and iou_if_read leaves it out "
            "as the published script does. TAC and DAC need FENSE and are not scored here."
            + UNVERIFIED,
            questions.lat_bench,
            ["audios|audio|audio_path"],
            files=("*TAG*.jsonl",),
        ),
        _set(
            "ceaeval",
            "CEAEval-D, the target as judge",
            "TianRW/CEAEval-Data",
            "CC-BY-NC 4.0",
            "The correlation of the target's <score> with people's." + UNVERIFIED,
            questions.cea,
            ["audio_path|audio", "novel_context", "target_line", "lang", "human_score|score"],
        ),
    )
}
