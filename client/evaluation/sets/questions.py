"""A row of each published set as a question: what is asked, in which conditions, what is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.evaluation.items import Part
from client.evaluation.judging import judged_gold
from client.evaluation.scorers import SPAN, seconds
from client.evaluation.sets import prompts
from client.evaluation.sets.rows import Row

AUDIO = ("audio", "context", "audio_path", "audio_filepath", "file_name", "source_wav", "audio_id")


@dataclass(frozen=True, slots=True)
class Asking:
    """One row as a question: ``parts`` by condition."""

    category: str
    parts: Mapping[str, tuple[Part, ...]]
    scorer: str
    gold: Mapping[str, Any]
    instructions: str | None = None
    chance: float | None = None


def big_bench_audio(row: Row) -> Asking:
    """Big Bench Audio."""
    category = row.text("category").lower().replace(" ", "_")
    among, instructions = prompts.BIG_BENCH.get(category, (None, prompts.A_NUMBER))
    gold: dict[str, Any] = {"answer": row.text("official_answer")}
    if among is not None:
        gold["among"] = list(among)
    parts = {"speech": (row.sound(*AUDIO),)}
    chance = None if among is None else 1 / len(among)
    return Asking(category, parts, "first_word", gold, instructions, chance)


def spoken_mqa(row: Row) -> Asking:
    """Spoken-MQA; golds of its reasoning splits end in "#### n"."""
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


def mmsu(row: Row) -> Asking:
    """MMSU; its gold is an option's text."""
    options = [row.text(f"choice_{letter}") for letter in "abcd"]
    gold = {"answer": row.text("answer_gt"), "options": options}
    parts = {"sound": (prompts.with_options(row.text("question"), options), row.sound(*AUDIO))}
    return Asking(row.text("task_name"), parts, "letter", gold, None, 1 / 4)


def mmau(row: Row) -> Asking:
    """MMAU and MMAR."""
    options = row.values["choices"]
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise ValueError(f"{row.file}, row {row.number}: choices is no list of texts")
    gold = {"answer": row.text("answer"), "options": options}
    parts = {"sound": (prompts.with_options(row.text("question"), options), row.sound(*AUDIO))}
    category = row.text("task", "modality", "category")
    return Asking(category, parts, "word_sets", gold, None, 1 / len(options))


def wild_speech(row: Row) -> Asking:
    """WildSpeech-Bench."""
    query, checklist = row.text("user_query", "query"), row.values.get("checklist") or ""
    listed = "\n".join(map(str, checklist)) if isinstance(checklist, list) else str(checklist)
    gold = {**judged_gold(prompts.WILD_SPEECH, query=query, checklist=listed), "most": 10}
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (row.sound(*AUDIO, words=query),),
        "text": (query,),
    }
    return Asking(row.text("category", "type"), parts, "judged_rating", gold)


def uro(row: Row) -> Asking:
    """URO-Bench, single turns."""
    query, wanted = row.text("source_text", "question"), str(row.values.get("target_text") or "")
    gold = {**judged_gold(prompts.URO, query=query, reference=wanted or "none"), "most": 5}
    parts: dict[str, tuple[Part, ...]] = {
        "speech": (row.sound("source_wav", *AUDIO, words=query),),
        "text": (query,),
    }
    return Asking(Path(row.file).parent.name or Path(row.file).stem, parts, "judged_rating", gold)


def speech_ifeval(row: Row) -> Asking:
    """Speech-IFEval: rows with rules, and those whose reasoning is judged."""
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


def spoken_facts(row: Row) -> Asking:
    """Spoken TriviaQA and WebQuestions."""
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


def lat_bench(row: Row) -> Asking:
    """LAT-Bench's temporal grounding."""
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


def cea(row: Row) -> Asking:
    """CEAEval-D: the target rates how a line is spoken."""
    human = row.values.get("human_score", row.values.get("score"))
    prompt = prompts.CEA.format(context=row.text("novel_context"), line=row.text("target_line"))
    parts = {"sound": (prompt, row.sound(*AUDIO))}
    return Asking(row.text("lang"), parts, "rating", {"human": _number(str(human), row)})
