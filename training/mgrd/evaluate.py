"""How good a policy is: greedy answers to questions that no stage has seen, and what was measured
in their thoughts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.text.thought_filter import THINK_CLOSE
from training.mgrd import rewards, thoughts
from training.mgrd.config import LENGTHS
from training.mgrd.policy import Policy
from training.mgrd.tasks import Question


@dataclass(frozen=True, slots=True)
class Answers:
    """The greedy completions of some questions."""

    questions: Sequence[Question]
    texts: list[str]

    def right(self) -> list[bool]:
        """Which are right."""
        pairs = zip(self.questions, self.texts, strict=True)
        return [rewards.is_right(question, text) for question, text in pairs]


def answers(policy: Policy, questions: Sequence[Question]) -> Answers:
    """Ask all of them."""
    made = policy.complete([policy.writer.prompt(question) for question in questions])
    return Answers(questions, [text for (text,) in made])


def report(found: Answers) -> dict[str, Any]:
    """Accuracy by kind, chance, thoughts: how many, how long, how true."""
    right = found.right()
    groundings = [
        thoughts.check(rewards.split(text)[0], question.measured)
        for question, text in zip(found.questions, found.texts, strict=True)
    ]
    stated = sum(grounding.stated for grounding in groundings)
    kinds = sorted({question.kind for question in found.questions})
    words = [len(rewards.split(text)[0].split()) for text in found.texts]
    return {
        "questions": len(right),
        "accuracy": float(np.mean(right)),
        "chance": float(np.mean([question.chance for question in found.questions])),
        "by_kind": {
            kind: float(
                np.mean([r for q, r in zip(found.questions, right, strict=True) if q.kind == kind])
            )
            for kind in kinds
        },
        "right": {q.id: int(r) for q, r in zip(found.questions, right, strict=True)},
        "thinks": float(np.mean([rewards.thinks(text) for text in found.texts])),
        "median_thought_words": float(np.median(words)),
        "stated_measures": stated,
        "groundedness": sum(g.true for g in groundings) / stated if stated else None,
        "denials": float(np.mean([thoughts.denies_hearing(text) for text in found.texts])),
        "examples": [
            {"id": q.id, "gold": q.answer, "completion": text}
            for q, text in list(zip(found.questions, found.texts, strict=True))[:12]
        ],
    }


def by_length(policy: Policy, questions: Sequence[Question]) -> dict[str, list[float]]:
    """Whether each is right when its own thought is cut off after so many tokens and closed."""
    free = answers(policy, questions)
    right: dict[str, list[float]] = {}
    for length in LENGTHS:
        prompts = []
        for question, text in zip(questions, free.texts, strict=True):
            thought = policy.writer.plain(rewards.split(text)[0])[:length]
            closed = policy.writer.plain(f"\n{THINK_CLOSE}\n")
            prompts.append([*policy.writer.prompt(question), *thought, *closed])
        made = [f"{THINK_CLOSE}\n{text}" for (text,) in policy.complete(prompts)]
        right[str(length)] = [
            float(rewards.is_right(question, text))
            for question, text in zip(questions, made, strict=True)
        ]
    return right


def count_right(policy: Policy, questions: Sequence[Question], samples: int) -> dict[str, int]:
    """How many of ``samples`` answers are right, by the questions' ids."""
    prompts = [policy.writer.prompt(question) for question in questions]
    drawn = policy.complete(prompts, samples=samples)
    return {
        question.id: sum(rewards.is_right(question, text) for text in texts)
        for question, texts in zip(questions, drawn, strict=True)
    }
