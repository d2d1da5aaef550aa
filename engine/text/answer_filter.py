"""The only way from a model's raw text to speech.

Text holds thoughts between ``<think>`` tags and calls of functions between ``<tool_call>`` tags.
Nothing of either is ever speech, however the text is cut into pieces.
"""

import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from engine.errors import EngineError
from engine.text.thought_filter import ThoughtFilter, possible_tag
from engine.text.tool_calls import CALL_CLOSE, CALL_OPEN, CallReader
from engine.types import (
    CallArguments,
    CallEnded,
    CallPiece,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    RawPiece,
    Speech,
    Thought,
)

_TAGS = (CALL_OPEN, CALL_CLOSE)
_TAG = re.compile(r"<(/?)tool_call>", re.IGNORECASE | re.ASCII)
# How a call begins without its tags, as small models write it, and what may become that.
_BARE = re.compile(r"(?:```(?:json)?\s*)?\{")
_BARE_START = re.compile(r"`{1,2}|```(?:j|js|jso|json)?\s*|")


@dataclass(frozen=True, slots=True)
class CallBroken:
    """A call that cannot be read. Its end is unknown, so the rest of the answer is lost too."""

    message: str


TextPiece = Speech | Thought | CallPiece | CallBroken


class AnswerFilter:
    """Splits streamed raw text into speech, thoughts and calls; the tags themselves vanish.

    A thought may mention a call without making it, and a call's arguments may hold any tag: in
    each the other's tags are text. A stray closing tag is dropped. After `CallBroken` the filter
    returns nothing more. The result depends on the text only, not on how it is cut into pieces.
    """

    def __init__(self, *, expects_calls: bool = False) -> None:
        """With ``expects_calls`` an answer that begins with a brace is a call without tags, not
        speech."""
        self._expects_calls = expects_calls
        self._start()

    def _start(self) -> None:
        self._thoughts = ThoughtFilter()
        self._held = ""  # the end of the text so far, if a call's tag may start there
        self._call: CallReader | None = None  # while inside a call
        self._bare: CallReader | None = None  # in a call without tags, to the end of the answer
        self._may_be_bare = self._expects_calls  # until something is said or called
        self._lead = ""  # the speech so far, if it may turn out to begin such a call
        self._is_broken = False

    @property
    def is_clear(self) -> bool:
        """Whether nothing is held back that may become the beginning of a call."""
        return not (self._held or self._lead)

    @property
    def begun(self) -> tuple[bool, str | None] | None:
        """If a call is open: whether it has no tags, and what was read of it, after its opening
        tag and up to its arguments; None once they have begun."""
        if self._call is not None:
            return False, self._call.head
        return None if self._bare is None else (True, self._bare.head)

    def feed(self, text: str) -> list[TextPiece]:
        """Take the next raw text; return the pieces that are certain now, in order."""
        pieces: list[TextPiece] = []
        while text and not self._is_broken:
            text = self._read_call(text, pieces) if self._call else self._read_text(text, pieces)
        return pieces

    def finish(self, *, cut: bool) -> list[TextPiece]:
        """End the answer and return what was held back; the filter may then be used again.

        ``cut`` says that the text was stopped, at its limit for one. A call that is not over is
        broken, unless the text was cut.
        """
        pieces: list[TextPiece] = []
        if not self._is_broken:
            if self._call is not None:
                self._add(self._call.finish(cut=cut), pieces)
            self._sort(self._thoughts.feed(self._held), pieces)
            self._sort(self._thoughts.finish(), pieces)
            if self._bare is not None:
                self._add(self._bare.finish(cut=cut), pieces)
            if self._lead:
                pieces.append(Speech(self._lead))
        self._start()
        return pieces

    def _read_text(self, text: str, pieces: list[TextPiece]) -> str:
        """Take text up to the beginning of a call; returns the rest."""
        text = self._held + text
        self._held = ""
        tag = _TAG.search(text)
        if tag is None:
            cut = len(text) - possible_tag(text, _TAGS)
            self._held = text[cut:]
            self._sort(self._thoughts.feed(text[:cut]), pieces)
            return ""
        self._sort(self._thoughts.feed(text[: tag.start()]), pieces)
        self._sort(self._thoughts.release(), pieces)
        if self._thoughts.is_thinking:
            self._sort(self._thoughts.feed(tag[0]), pieces)
        elif not tag[1] and self._bare is None:
            self._say_lead(pieces)
            self._call = CallReader()
        return text[tag.end() :]

    def _sort(self, parts: Sequence[Speech | Thought], pieces: list[TextPiece]) -> None:
        """Separate a call without tags from speech."""
        for part in parts:
            if self._is_broken:
                return
            if isinstance(part, Thought):
                pieces.append(part)
            elif self._bare is not None:
                self._add(self._bare.feed(part.text)[0], pieces)
            elif self._may_be_bare:
                self._begin(part.text, pieces)
            else:
                pieces.append(part)

    def _begin(self, text: str, pieces: list[TextPiece]) -> None:
        """Decide whether the answer begins with a call without tags."""
        self._lead += text
        lead = self._lead.lstrip()
        if begun := _BARE.match(lead):
            self._may_be_bare, self._lead = False, ""
            self._bare = CallReader()
            self._add(self._bare.feed(lead[begun.end() - 1 :])[0], pieces)
        elif not _BARE_START.fullmatch(lead):
            self._say_lead(pieces)

    def _say_lead(self, pieces: list[TextPiece]) -> None:
        self._may_be_bare = False
        if self._lead:
            pieces.append(Speech(self._lead))
        self._lead = ""

    def _read_call(self, text: str, pieces: list[TextPiece]) -> str:
        assert self._call is not None
        read, rest = self._call.feed(text)
        self._add(read, pieces)
        if rest is None:
            return ""
        self._call = None
        return rest

    def _add(self, read: list[CallPiece | None], pieces: list[TextPiece]) -> None:
        for piece in read:
            if piece is None:
                self._is_broken = True
                pieces.append(CallBroken("The model's call of a function cannot be read."))
                return
            pieces.append(piece)


class _Calls:
    """Checks the calls of one answer against the rules.

    Speech after a call is dropped, because the model does not know the call's result yet.
    """

    def __init__(self, offered: frozenset[str], *, many: bool) -> None:
        self._offered = offered
        self._many = many
        self._made = 0
        self._arguments: list[str] | None = None  # of the open call, if it is wanted

    @property
    def begun(self) -> bool:
        """Whether the answer has made a call."""
        return self._made > 0

    def take(self, piece: CallPiece) -> list[Piece]:
        """Take the next piece of a call; return the pieces to pass on.

        Raises:
            EngineError: the function is not among those offered, or the arguments are no object.
        """
        match piece:
            case CallStarted(name):
                return self._start(piece, name)
            case CallArguments(text):
                if self._arguments is None:
                    return []
                self._arguments.append(text)
                return [piece] if text else []
            case CallEnded():
                return self._end()

    def _start(self, piece: CallStarted, name: str) -> list[Piece]:
        if not self._offered or (self._made and not self._many):
            return []  # no calls are wanted: this one is neither made nor spoken
        if name not in self._offered:
            raise EngineError(f"The model called a function that is not offered: {name[:64]!r}.")
        self._made += 1
        self._arguments = []
        return [piece]

    def _end(self) -> list[Piece]:
        if self._arguments is None:
            return []
        text, self._arguments = "".join(self._arguments), None
        if not text.strip():  # how some endpoints write a call without arguments
            return [CallArguments("{}"), CallEnded()]
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise EngineError("The model's call of a function has arguments that are no object.")
        return [CallEnded()]


class _Sorter:
    """Turns the raw pieces of one answer into speech, thoughts and calls.

    Two stages: `AnswerFilter` splits raw text (`_parts`), then each part is passed on, held back or
    dropped (`_speak`, `_call`). Blank speech is held back, because only a call may follow it.
    """

    def __init__(self, messages: Sequence[Message], *, many: bool) -> None:
        self._offered = frozenset(tool.name for message in messages for tool in message.tools)
        self._text = AnswerFilter(expects_calls=bool(self._offered))
        self._calls = _Calls(self._offered, many=many)
        self._blanks = ""  # speech that is not passed on yet

    def feed(self, piece: RawPiece) -> Iterator[Piece]:
        """Take the next raw piece; yield the pieces that are certain now, in order.

        Raises:
            EngineError: the model called a function in a way that cannot be obeyed.
        """
        for part in self._parts(piece):
            match part:
                case Speech():
                    yield from self._speak(part)
                case CallStarted() | CallArguments() | CallEnded():
                    self._blanks = ""
                    yield from self._calls.take(part)
                case CallBroken(message):
                    if self._offered:
                        raise EngineError(message)
                case _:
                    yield part

    def _parts(self, piece: RawPiece) -> list[TextPiece | Finished]:
        match piece:
            case str():
                return list(self._text.feed(piece))
            case Finished(reason):
                return [*self._text.finish(cut=reason != "stop"), piece]
            case _:
                return [piece]

    def _speak(self, part: Speech) -> list[Piece]:
        if not part.codes and not part.text.strip():
            self._blanks += part.text
            return []
        blanks, self._blanks = self._blanks, ""
        return [] if self._calls.begun else [Speech(blanks + part.text, part.codes)]


async def sorted_pieces(
    raw: AsyncGenerator[RawPiece, None], messages: Sequence[Message], options: GenerationOptions
) -> AsyncGenerator[Piece, None]:
    """Yield the answer to ``messages`` with the thoughts and calls in its text as pieces of their
    own. Closes ``raw``.

    Raises:
        EngineError: the model called a function in a way that cannot be obeyed.
    """
    sorter = _Sorter(messages, many=options.calls.many)
    async with aclosing(raw):
        async for piece in raw:
            for part in sorter.feed(piece):
                yield part
