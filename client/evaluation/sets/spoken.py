"""Questions in words that our own voice speaks: what does it cost to ask them aloud?

Each question is asked as speech and as the same words in writing. The four tasks of BIG-Bench Hard
are those that Big Bench Audio speaks.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.evaluation.items import Item, Samples, Sound, Speaker

YES_NO = {"yes": ["yes"], "no": ["no"]}
VALIDITY = {"valid": ["valid"], "invalid": ["invalid"]}
BRIEF = "Answer the question in one short sentence."
STEPS = (
    "Solve the problem step by step, in at most four short sentences and without formulas. End "
    "with: The answer is, and the number."
)
COUNT = "Answer the question. End with: The answer is, and the number."
ONE_OF = "Answer the question. End with: The answer is {}, or: The answer is {}."


@dataclass(frozen=True, slots=True)
class Question:
    """A question in words, and what is right."""

    text: str
    scorer: str
    gold: dict[str, Any]
    instructions: str
    chance: float | None = None


def load(folder: Path, count: int, seed: int, speaker: Speaker) -> list[Item]:
    """``count`` questions, drawn from the files of ``folder`` in turn, each in two conditions.
    With a larger count the same ones come first.

    Raises:
        ValueError: there is none of the files, or one is not what it should be.
        OSError: a file cannot be read.
    """
    found = {
        name: _read(folder / file, read)
        for name, (file, read) in FILES.items()
        if (folder / file).exists()
    }
    if not found:
        names = ", ".join(file for file, _ in FILES.values())
        raise ValueError(f"{folder} has none of {names}")
    orders = {
        name: np.random.default_rng([seed, index]).permutation(len(questions))
        for index, (name, questions) in enumerate(found.items())
    }
    items: list[Item] = []
    for turn in range(max(map(len, found.values()))):
        for name, questions in found.items():
            if len(items) == 2 * count:
                return items
            if turn < len(questions):
                at = int(orders[name][turn])
                items += _both(f"{name}-{at}", name, questions[at], speaker)
    return items


def _read(path: Path, read: Callable[[Path], list[Question]]) -> list[Question]:
    try:
        return read(path)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not the file it should be: {error!r}") from error


def _both(item_id: str, category: str, question: Question, speaker: Speaker) -> list[Item]:
    sound = Sound(_spoken(question.text, speaker), question.text)
    return [
        Item(
            id=item_id,
            condition=condition,
            category=category,
            parts=(part,),
            scorer=question.scorer,
            gold=question.gold,
            instructions=question.instructions,
            chance=question.chance,
        )
        for condition, part in (("speech", sound), ("text", question.text))
    ]


def _spoken(text: str, speaker: Speaker) -> Callable[[], Samples]:
    return lambda: speaker(text)


def _big_bench(choices: dict[str, list[str]] | None) -> Callable[[Path], list[Question]]:
    """A reader of BIG-Bench Hard's files. The options that are written below a question are left
    out: nobody says them, and the instructions name them."""

    def read(path: Path) -> list[Question]:
        questions = []
        for entry in _json(path)["examples"]:
            text = re.sub(r"\s*\nOptions:.*", "", entry["input"], flags=re.DOTALL)
            text = text.removeprefix("Question: ").replace("\n", " ").strip()
            target = str(entry["target"]).strip()
            if choices is None:
                number = int(target)
                questions.append(Question(text, "number", {"answer": number}, COUNT))
            else:
                gold = {"answer": target.lower(), "choices": choices}
                instructions = ONE_OF.format(*choices)
                questions.append(Question(text, "choice", gold, instructions, 1 / len(choices)))
        return questions

    return read


def _gsm8k(path: Path) -> list[Question]:
    questions = []
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line)
        answer = entry["answer"].rpartition("####")[2].strip().replace(",", "")
        questions.append(Question(entry["question"], "number", {"answer": float(answer)}, STEPS))
    return questions


def _web_questions(path: Path) -> list[Question]:
    return [
        Question(entry["qText"], "mentions", {"answers": list(entry["answers"])}, BRIEF)
        for entry in _json(path)
    ]


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


FILES: dict[str, tuple[str, Callable[[Path], list[Question]]]] = {
    "formal_fallacies": ("bbh_formal_fallacies.json", _big_bench(VALIDITY)),
    "navigate": ("bbh_navigate.json", _big_bench(YES_NO)),
    "object_counting": ("bbh_object_counting.json", _big_bench(None)),
    "web_of_lies": ("bbh_web_of_lies.json", _big_bench(YES_NO)),
    "gsm8k": ("gsm8k_test.jsonl", _gsm8k),
    "web_questions": ("webquestions_test.json", _web_questions),
}
