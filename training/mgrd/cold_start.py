"""The cold start: written answers, most of them without thoughts."""

from collections.abc import Sequence

import numpy as np

from training.mgrd import thoughts
from training.mgrd.config import Thoughts
from training.mgrd.policy import Policy
from training.mgrd.prompts import Example
from training.mgrd.tasks import Question


def examples(
    policy: Policy, questions: Sequence[Question], wanted: Thoughts, seed: int
) -> list[Example]:
    """Written answers: a share with thoughts of the ``wanted`` kind, the others with an empty
    block, and some that deny hearing, as a model does that comes from text."""
    random = np.random.default_rng([seed, 5])
    found = []
    for question in questions:
        prompt = policy.writer.prompt(question)
        draw, thinks = random.random(), random.random() < policy.scale.thought_share
        if draw < policy.scale.denial_share:
            found.append(Example(prompt, policy.writer.answer("", thoughts.CANNOT_HEAR)))
            continue
        thought = ""
        if thinks and wanted == "grounded":
            thought = thoughts.grounded(question.measured, question.answer)
        elif thinks and wanted == "surrogate":
            thought = thoughts.surrogate(question.words, question.answer)
        found.append(Example(prompt, policy.writer.answer(thought, question.answer)))
    return found
