"""Published sets: where their rows are, what is asked of each, and what others measured.

No data are shipped. A row becomes items; where the set has the words of its sound, these are asked
as text, too, under the same id. What could not be checked against the data themselves is said so in
``rule``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from client.evaluation.about import About, Published
from client.evaluation.items import Item, Part
from client.evaluation.judging import judged_gold
from client.evaluation.scorers import SPAN, seconds
from client.evaluation.sets import prompts
from client.evaluation.sets.rows import Row, data_folder, read_rows

AUDIO = ("audio", "context", "audio_path", "audio_filepath", "file_name", "source_wav", "audio_id")
R1 = "Step-Audio-R1 technical report"


@dataclass(frozen=True, slots=True)
class Asking:
    """One row as a question: ``parts`` by condition."""

    category: str
    parts: Mapping[str, tuple[Part, ...]]
    scorer: str
    gold: Mapping[str, Any]
    instructions: str | None = None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A set: the files its rows are in, the columns they must have (one of each group), and how
    many rows there are, if that is known."""

    about: About
    hub: str
    files: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: int | None
    ask: Callable[[Row], Asking]


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


def _big_bench_audio(row: Row) -> Asking:
    category = row.text("category").lower().replace(" ", "_")
    among, instructions = prompts.BIG_BENCH.get(category, (None, prompts.A_NUMBER))
    gold: dict[str, Any] = {"answer": row.text("official_answer")}
    if among is not None:
        gold["among"] = list(among)
    parts = {"speech": (row.sound(*AUDIO),)}
    chance = None if among is None else 1 / len(among)
    return Asking(category, parts, "first_word", gold, instructions, chance)


def _spoken_mqa(row: Row) -> Asking:
    gold = row.text("answer").rpartition("####")[2].strip().replace(",", "")
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (prompts.SPOKEN_MQA, row.sound("context", *AUDIO))
    }
    if row.has("context_transcript"):
        parts["text"] = (prompts.SPOKEN_MQA, row.text("context_transcript"))
    category = str(row.values.get("split") or Path(row.file).stem.split("-")[0])
    return Asking(category, parts, "number", {"answer": _number(gold, row)})


def _number(text: str, row: Row) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{row.file}, row {row.number}: {text!r} is no number") from error


def _mmsu(row: Row) -> Asking:
    options = [row.text(f"choice_{letter}") for letter in "abcd"]
    gold = {"answer": row.text("answer_gt"), "options": options}
    parts = {"sound": (prompts.with_options(row.text("question"), options), row.sound(*AUDIO))}
    return Asking(row.text("task_name"), parts, "letter", gold, None, 1 / 4)


def _mmau(row: Row) -> Asking:
    options = row.values["choices"]
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise ValueError(f"{row.file}, row {row.number}: choices is no list of texts")
    gold = {"answer": row.text("answer"), "options": options}
    parts = {"sound": (prompts.with_options(row.text("question"), options), row.sound(*AUDIO))}
    category = row.text("task", "modality", "category")
    return Asking(category, parts, "word_sets", gold, None, 1 / len(options))


def _wild_speech(row: Row) -> Asking:
    query, checklist = row.text("user_query", "query"), row.values.get("checklist") or ""
    listed = "\n".join(map(str, checklist)) if isinstance(checklist, list) else str(checklist)
    gold = {**judged_gold(prompts.WILD_SPEECH, query=query, checklist=listed), "most": 10}
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (row.sound(*AUDIO, words=query),),
        "text": (query,),
    }
    return Asking(row.text("category", "type"), parts, "judged_rating", gold)


def _uro(row: Row) -> Asking:
    query, wanted = row.text("source_text", "question"), str(row.values.get("target_text") or "")
    gold = {**judged_gold(prompts.URO, query=query, reference=wanted or "none"), "most": 5}
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (row.sound("source_wav", *AUDIO, words=query),),
        "text": (query,),
    }
    return Asking(Path(row.file).parent.name or Path(row.file).stem, parts, "judged_rating", gold)


def _speech_ifeval(row: Row) -> Asking:
    instruction, words = row.text("instruction"), str(row.values.get("seed_transcript") or "")
    parts: dict[str, tuple[Part, ...]] = {"speech": (instruction, row.sound(*AUDIO, words=words))}
    if words:
        parts["text"] = (instruction, words)
    category = Path(row.file).stem
    if row.has("instruction_id_list"):
        names = list(row.values["instruction_id_list"])
        arguments = row.values.get("kwargs") or [{} for _ in names]
        rules = {"instructions": names, "arguments": arguments}
        return Asking(category, parts, "ifeval", rules)
    gold = judged_gold(prompts.REASONS, instruction=instruction)
    return Asking(category, parts, "judged_yes", gold)


def _spoken_facts(row: Row) -> Asking:
    accepted = row.values.get("answers", row.values.get("answer"))
    if isinstance(accepted, Mapping):  # TriviaQA's own shape
        accepted = accepted.get("aliases") or accepted.get("value")
    answers = [accepted] if isinstance(accepted, str) else [str(one) for one in accepted or ()]
    if not answers:
        raise ValueError(f"{row.file}, row {row.number}: it has no answer")
    question = row.text("question")
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (row.sound(*AUDIO, words=question),),
        "text": (question,),
    }
    gold = {"answers": answers}
    return Asking("all", parts, "mentions", gold, prompts.WITHOUT_EXPLAINING)


def _lat_bench(row: Row) -> Asking:
    prompt, gold_text = _lat_texts(row)
    found = SPAN.search(gold_text)
    if found is None:
        raise ValueError(f"{row.file}, row {row.number}: {gold_text!r} has no [MM:SS-MM:SS]")
    start_s, end_s = (seconds(part) for part in found.groups())
    gold = {"start_s": start_s, "end_s": end_s}
    parts = {"sound": (row.sound("audios", *AUDIO), prompt)}
    return Asking(Path(row.file).stem, parts, "spans", gold)


def _lat_texts(row: Row) -> tuple[str, str]:
    """Prompt and gold: columns of their own, or the messages of a conversation."""
    if row.has("messages"):
        by_role = {one["role"]: str(one["content"]) for one in row.values["messages"]}
        prompt = by_role.get("user", "").replace("<audio>", "").strip()
        return prompt, str(row.values.get("labels") or by_role.get("assistant", ""))
    return row.text("query", "prompt", "question"), row.text("labels", "response", "answer")


def _cea(row: Row) -> Asking:
    human = row.values.get("human_score", row.values.get("score"))
    prompt = prompts.CEA.format(context=row.text("novel_context"), line=row.text("target_line"))
    parts = {"sound": (prompt, row.sound(*AUDIO))}
    return Asking(row.text("lang"), parts, "rating", {"human": _number(str(human), row)})


def _set(
    name: str,
    title: str,
    hub: str,
    licence: str,
    rule: str,
    ask: Callable[[Row], Asking],
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
            _big_bench_audio,
            ["category", "official_answer", "|".join(AUDIO)],
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
            _spoken_mqa,
            ["answer", "context|audio"],
            None,
            [
                ("Step-Audio-R1", "95.2", R1),
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
            _mmsu,
            [
                *("task_name", "question", "answer_gt", "|".join(AUDIO)),
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
            _mmau,
            ["question", "choices", "answer", "task", "|".join(AUDIO)],
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
            _mmau,
            ["question", "choices", "answer", "modality|category", "|".join(AUDIO)],
            1000,
        ),
        _set(
            "wildspeech_bench",
            "WildSpeech-Bench",
            "tencent/WildSpeech-Bench",
            "CC-BY 4.0 and further terms",
            "A judge's 1 to 10 with the question's checklist, over 10; its prompt is worded anew."
            + UNVERIFIED,
            _wild_speech,
            ["user_query|query", "category|type", "|".join(AUDIO)],
            1100,
            [("Step-Audio-R1 (of 100)", "70.6", R1)],
        ),
        _set(
            "uro_bench",
            "URO-Bench",
            "Honggao/URO-Bench",
            "not stated",
            "A judge's 1 to 5, over 5; its prompt is worded anew. Single turns." + UNVERIFIED,
            _uro,
            ["source_text|question", "|".join(AUDIO)],
        ),
        _set(
            "speech_ifeval",
            "Speech-IFEval",
            "kehanlu/Speech-IFEval",
            "of LibriSpeech, IEMOCAP, MELD, Common Voice and MMAU, each its own",
            "IFEval's rules, strict; chain of thought: a judge's 'result: yes', of the answer "
            "without the thoughts. What speech costs is the forgetting rate's numerator.",
            _speech_ifeval,
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
            _spoken_facts,
            ["question", "answer|answers", "|".join(AUDIO)],
            None,
            _facts("69.7", "55.3", "36.4", "38.2"),
        ),
        _set(
            "speech_web_questions",
            "WebQuestions, spoken",
            "TwinkStart/speech-web-questions",
            "not stated",
            FACTS,
            _spoken_facts,
            ["question", "answer|answers", "|".join(AUDIO)],
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
            _lat_bench,
            ["audios|audio|audio_path"],
            files=("*TAG*.jsonl",),
        ),
        _set(
            "ceaeval",
            "CEAEval-D, the target as judge",
            "TianRW/CEAEval-Data",
            "CC-BY-NC 4.0",
            "The correlation of the target's <score> with people's." + UNVERIFIED,
            _cea,
            ["audio_path|audio", "novel_context", "target_line", "lang", "human_score|score"],
        ),
    )
}
