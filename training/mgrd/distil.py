"""Self-distillation: a policy's own best answers are what it learns from next."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.mgrd import rewards, thoughts
from training.mgrd.config import PASS_K
from training.mgrd.policy import Policy
from training.mgrd.prompts import Example
from training.mgrd.tasks import Question

LEAST_MEASURES = 2


@dataclass(frozen=True, slots=True)
class Distilled:
    """The answers that are kept, and how many were drawn, right and grounded, or deny hearing."""

    examples: list[Example]
    drawn: int
    right: int
    grounded: int
    denials: int


def is_grounded(question: Question, completion: str) -> bool:
    """Whether the thought cites measures, as many as there are up to `LEAST_MEASURES`, and its
    conclusion is the answer. Whether the measures are true is not asked: the report's filter does
    not know either."""
    thought, answer = rewards.split(completion)
    found = thoughts.check(thought, question.measured)
    enough = min(LEAST_MEASURES, len(question.measured))
    return found.stated >= enough and found.conclusion == answer


def distil(policy: Policy, questions: Sequence[Question]) -> Distilled:
    """Draw `PASS_K` answers to each question and keep one that is right, grounded, and does not
    deny hearing, if there is one."""
    drawn = policy.complete([policy.writer.prompt(q) for q in questions], samples=PASS_K)
    examples, right, grounded, denials = [], 0, 0, 0
    for question, texts in zip(questions, drawn, strict=True):
        kept = None
        for text in texts:
            is_right, has_ground = rewards.is_right(question, text), is_grounded(question, text)
            denies = thoughts.denies_hearing(text)
            right, grounded, denials = right + is_right, grounded + has_ground, denials + denies
            if is_right and has_ground and not denies:
                kept = kept or text
        if kept is not None:
            thought, answer = rewards.split(kept)
            written = policy.writer.answer(thought, answer or "")
            examples.append(Example(policy.writer.prompt(question), written))
    return Distilled(examples, len(questions) * PASS_K, right, grounded, denials)


def without_denials(policy: Policy, questions: Sequence[Question]) -> list[Example]:
    """One drawn answer to each question, those that deny hearing left out: the report's first
    remedy, by itself."""
    drawn = policy.complete([policy.writer.prompt(q) for q in questions], samples=1)
    examples = []
    for question, (text,) in zip(questions, drawn, strict=True):
        thought, answer = rewards.split(text)
        if answer and not thoughts.denies_hearing(text):
            written = policy.writer.answer(thought, answer)
            examples.append(Example(policy.writer.prompt(question), written))
    return examples
