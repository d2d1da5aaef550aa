"""What an answer earns. A completion begins inside the think block that the prompt opened."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.text.thought_filter import THINK_CLOSE
from training.mgrd.config import CORRECT_WEIGHT, THINKS_WEIGHT, Reward
from training.mgrd.tasks import Question

LEAST_WORDS = 3

RewardFunction = Callable[..., list[float]]


def split(completion: str) -> tuple[str, str | None]:
    """The thought and the answer; None if the thought did not end."""
    thought, mark, answer = completion.partition(THINK_CLOSE)
    return thought.strip(), answer.strip() if mark else None


def is_right(question: Question, completion: str) -> bool:
    """Whether the answer behind the thought is right."""
    _, answer = split(completion)
    return bool(answer) and question.is_right(answer or "")


def thinks(completion: str) -> bool:
    """Whether there is a closed think block of a few words."""
    thought, answer = split(completion)
    return answer is not None and len(thought.split()) >= LEAST_WORDS


def functions(
    reward: Reward, questions: Mapping[str, Question]
) -> tuple[list[RewardFunction], list[float]]:
    """Reward functions for TRL, which passes the data set's column ``question``, and their
    weights. Without the format reward being right is worth 1."""

    def correct(completions: Sequence[str], question: Sequence[str], **_: Any) -> list[float]:
        pairs = zip(question, completions, strict=True)
        return [float(is_right(questions[id_], completion)) for id_, completion in pairs]

    def thinking(completions: Sequence[str], **_: Any) -> list[float]:
        return [float(thinks(completion)) for completion in completions]

    if reward == "correct":
        return [correct], [1.0]
    return [correct, thinking], [CORRECT_WEIGHT, THINKS_WEIGHT]
