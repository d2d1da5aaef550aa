"""What published sets ask with, and what their judges are asked."""

from collections.abc import Sequence

from client.evaluation.scorers import LETTERS

A_NUMBER = "Listen to the question and answer with a number only."
VALIDITY = "Listen to the question and answer with one word only: valid or invalid."
YES_NO = "Listen to the question and answer with one word only: yes or no."
BIG_BENCH: dict[str, tuple[tuple[str, ...], str]] = {
    "formal_fallacies": (("valid", "invalid"), VALIDITY),
    "navigate": (("yes", "no"), YES_NO),
    "web_of_lies": (("yes", "no"), YES_NO),
}
SPOKEN_MQA = "Solve the given math question step by step."
WITHOUT_EXPLAINING = "Answer the question without explaining."
OPTIONS = (  # of Step-Audio-R1 (UltraEval-Audio, registry/prompt/mmsu.yaml)
    "Please choose the answer from the following options, do not provide any additional "
    "explanations or content:"
)
WILD_SPEECH = """You judge the reply of a voice assistant to what a user said.

The user said: {query}

What a good reply should do:
{checklist}

The reply: {answer}

Rate the reply from 1 (useless) to 10 (perfect) by these points. Explain in one sentence and end
with "Score: N"."""
URO = """You judge the reply of a voice assistant.

The user said: {query}
A reference answer: {reference}
The reply: {answer}

Rate the reply from 1 (useless or wrong) to 5 (helpful, correct and complete). Explain in one
sentence and end with "Score: N"."""
REASONS = """A model was given this instruction: {instruction}

Its reply: {answer}

Does the reply show its reasoning, beyond a direct answer? End with "result: yes" or
"result: no"."""
CEA = """The following is from a novel.

{context}

The line to be spoken is: {line}

Listen to how it is spoken. How well does that fit the situation? Write your rating from 0 to 5 as
<score>x.x</score>."""


def with_options(question: str, options: Sequence[str]) -> str:
    """A question and its lettered options."""
    listed = [f"{name}. {option}" for name, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, OPTIONS, *listed])
