"""The words that the engine and its callers share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]
Thinking = Literal["before", "think_first", "speak_first"]


def _nothing_ahead() -> float:
    return 0.0


class Sound(Protocol):
    """What the brain itself heard of a turn; opaque to all but the engine that made it.

    Compared and hashed by identity, so that a message that holds one can be a key.
    """

    @property
    def ids(self) -> Sequence[int]:
        """One negative id for each latent; no two sounds of a call share one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One finished item of the conversation, as text the brain is shown.

    A brain that hears is shown a user's ``sound`` in place of the text.
    """

    role: Role
    text: str
    sound: Sound | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the ear made of the open turn's audio.

    ``stable`` is the leading part of ``text`` that is not expected to change any more;
    an exact pass has ``stable == text``. ``samples`` of 16 kHz audio were heard.
    ``sound`` is them as the brain heard them, if it hears.
    """

    text: str
    stable: str
    samples: int
    sound: Sound | None = None


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one answer is decoded. ``temperature`` 0 is greedy.

    ``think_tokens``: reason in at most so many tokens, between ``<think>`` tags that the brain
    opens and, if the model does not, closes itself. 0: answer at once. ``thinking`` says when,
    seen from the speech: all before it, or in parts while it is spoken. ``speech_ahead_s`` tells
    a brain that thinks meanwhile how long what was said already will still sound.
    """

    max_tokens: int = 256
    think_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.1
    thinking: Thinking = "before"
    speech_ahead_s: Callable[[], float] = _nothing_ahead


@dataclass(frozen=True, slots=True)
class Speech:
    """Answer text that is to be spoken; or, from a brain that speaks itself, the codes that say
    it (25 a second), with the text that belongs to them."""

    text: str
    codes: tuple[int, ...] = ()


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
RawPiece = str | Piece  # of a brain: plain text may hold thoughts between tags
