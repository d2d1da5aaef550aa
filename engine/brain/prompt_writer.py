"""Writes a conversation as token ids: the part of it that fits the context."""

from collections.abc import Sequence

from engine.brain.chat_format import Renderer
from engine.brain.context_window import ContextUse, kept_messages, reserved_for_answer
from engine.types import Message, Sound

# A text of more characters per token of context than this cannot fit (short of pages of blanks),
# and the event loop does not stop to find out how long it is.
MAX_CHARACTERS_PER_TOKEN = 16
_USUAL_CHARACTERS_PER_TOKEN = 4  # of English, to say how long it is about


class PromptWriter:
    """Writes the conversation of one call.

    The conversation is passed whole each time. A message is tokenised once while it stays in it.
    """

    def __init__(
        self,
        renderer: Renderer,
        context_tokens: int,
        sound_marks: tuple[list[int], list[int]] | None = None,
    ) -> None:
        """``sound_marks``: the ids before and after a sound, for a brain that hears. Without them a
        message that has a sound is written as its text."""
        self._renderer = renderer
        self._context_tokens = context_tokens
        self._sound_marks = sound_marks
        self._ids: dict[Message, list[int]] = {}  # of the conversation that was passed last

    def write(
        self,
        messages: Sequence[Message],
        partial: str | Sound | None = None,
        held: Sequence[int] = (),
    ) -> list[int]:
        """Ids of the part of the conversation that fits, and of an open user turn that begins
        with ``partial``. An answer keeps the ids that it has in ``held``, the ids of the log.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            EngineError: there are tools, and the model cannot call any.
            ValueError: ``partial`` is a sound and the brain does not hear.
        """
        self._render(messages)
        shown = list(messages)
        lengths = [_length(message, self._ids.get(message)) for message in messages]
        open_turn: list[int] | None = []
        if partial is not None:
            shown.append(self._open_message(partial))
            open_turn = self._opened(shown[-1])
            lengths.append(_length(shown[-1], open_turn))
        room = self._context_tokens - reserved_for_answer(self._context_tokens)
        system, first = kept_messages(shown, lengths, room)
        assert open_turn is not None  # or it would have been too long
        ids = list(self._renderer.start)
        for message in (*messages[:system], *messages[first:]):
            if message.role == "assistant":
                ids += self._answer(message, ids, held)
            else:
                ids += self._ids[message]
        return ids + open_turn

    def measure(self, beginning: Sequence[Message]) -> ContextUse:
        """How much of the context the ``beginning`` of a conversation takes: its instructions and
        tools. What is too long to be tokenised is estimated.

        Raises:
            EngineError: there are tools, and the model cannot call any.
        """
        lengths = [_length(message, self._closed(message)) for message in beginning]
        return ContextUse(len(self._renderer.start) + sum(lengths), self._context_tokens)

    def _render(self, messages: Sequence[Message]) -> None:
        """Make ``self._ids`` hold the ids of ``messages``, except those too long to be tokenised.
        Messages that are gone are forgotten."""
        known, self._ids = self._ids, {}
        for message in messages:
            if (ids := known.get(message) or self._closed(message)) is not None:
                self._ids[message] = ids

    def _open_message(self, partial: str | Sound) -> Message:
        if isinstance(partial, str):
            return Message("user", partial)
        if self._sound_marks is None:
            raise ValueError("the brain does not hear")
        return Message("user", "", partial)

    def _opened(self, message: Message) -> list[int] | None:
        """Ids of ``message`` up to its end; None if its text is too long to be tokenised."""
        if self._sound_marks is not None and message.sound is not None:
            before, _ = self._sound_marks
            return [*self._renderer.opening[message.role], *before, *message.sound.ids]
        if len(message.text) > MAX_CHARACTERS_PER_TOKEN * self._context_tokens:
            return None
        return self._renderer.open_message(message.role, message.text)

    def _closed(self, message: Message) -> list[int] | None:
        """Ids of the whole of ``message``; None if its text is too long to be tokenised."""
        if self._sound_marks is not None and message.sound is not None:
            opened = self._opened(message) or []
            return opened + self._sound_marks[1] + self._renderer.closing[message.role]
        if _characters(message) > MAX_CHARACTERS_PER_TOKEN * self._context_tokens:
            return None
        return self._renderer.message(message)

    def _answer(self, message: Message, before: list[int], held: Sequence[int]) -> list[int]:
        """Ids of a finished answer: the ids that the model chose, if the log still holds them."""
        opening = self._renderer.opening["assistant"]
        start = len(before) + len(opening)
        if len(held) <= start or list(held[:start]) != before + opening:
            return self._ids[message]
        body = self._renderer.answer(self._renderer.answer_text(message), held[start:])
        return opening + body + self._renderer.closing["assistant"]


def _length(message: Message, ids: list[int] | None) -> int:
    """The tokens of ``message``; an estimate if it is too long to be tokenised."""
    return _characters(message) // _USUAL_CHARACTERS_PER_TOKEN if ids is None else len(ids)


def _characters(message: Message) -> int:
    """The characters of all texts of ``message``."""
    return sum(map(len, message.texts))
