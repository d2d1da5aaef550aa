"""The part of a long conversation that fits the model's context window."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ContextExceeded
from engine.types import Message

_MOST_RESERVED_TOKENS = 256  # for the answer, in a context of at least four times that
_TURN_TOKENS = 64  # of a short turn, in a context of at least 16 times that


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How much of a brain's context the instructions and the tools take."""

    tokens: int
    context_tokens: int

    @property
    def reserved_tokens(self) -> int:
        """What is left for the conversation at the least: a short turn and its answer."""
        turn = min(_TURN_TOKENS, self.context_tokens // 16)
        return reserved_for_answer(self.context_tokens) + turn

    @property
    def fits(self) -> bool:
        """Whether a conversation can be held after them."""
        return self.tokens + self.reserved_tokens <= self.context_tokens


def reserved_for_answer(context_tokens: int) -> int:
    """The tokens of a context that no prompt may take."""
    return min(_MOST_RESERVED_TOKENS, context_tokens // 4)


def kept_messages(
    messages: Sequence[Message], lengths: Sequence[int], limit: int
) -> tuple[int, int]:
    """Choose the messages that the model is shown.

    Returns the number of leading system messages, which are always kept, and the index of the first
    other message that is kept.

    ``lengths`` are the tokens of each message, or estimates. The function replays the conversation
    turn by turn; a turn is a user's message with all up to the next. When a turn brings the sum
    over ``limit``, the oldest turns go until three quarters of it are left. So the cache is rebuilt
    once in many turns, not in each. The result depends on the conversation alone, so the same turns
    are cut next time.

    Raises:
        ContextExceeded: the system messages and the last turn alone exceed ``limit``.
    """
    system = 0
    while system < len(messages) and messages[system].role == "system":
        system += 1
    starts = [
        index
        for index in range(system, len(messages))
        if index == system or messages[index].role == "user"
    ]
    ends = [*starts[1:], len(messages)]
    base = sum(lengths[:system])
    sizes = [sum(lengths[a:b]) for a, b in zip(starts, ends, strict=False)]
    oldest, total = 0, base
    for turn, size in enumerate(sizes):
        total += size
        if total > limit:
            while oldest < turn and total > limit * 3 // 4:
                total -= sizes[oldest]
                oldest += 1
    if total > limit:
        raise ContextExceeded(
            f"the last turn and the instructions take about {total} tokens; "
            f"the context leaves room for {limit}"
        )
    return system, starts[oldest] if starts else len(messages)
