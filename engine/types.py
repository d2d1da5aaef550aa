"""The words that the engine and its callers share."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One finished item of the conversation, as text the brain is shown."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the ear made of the open turn's audio.

    ``stable`` is the leading part of ``text`` that is not expected to change any more;
    an exact pass has ``stable == text``. ``samples`` of 16 kHz audio were heard.
    """

    text: str
    stable: str
    samples: int


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one answer is decoded. ``temperature`` 0 is greedy.

    ``think_tokens``: reason first, in at most so many tokens, between ``<think>`` tags that the
    brain opens and, if the model does not, closes itself. 0: answer at once.
    """

    max_tokens: int = 256
    think_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.1


@dataclass(frozen=True, slots=True)
class Speech:
    """Answer text that is to be spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning text; never spoken, never in the transcript."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last piece of an answer, with true token counts.

    ``cached_tokens`` of the ``input_tokens`` were in the KV cache when the turn ended.
    """

    reason: FinishReason
    input_tokens: int
    cached_tokens: int
    output_tokens: int


Piece = Speech | Thought | Finished
