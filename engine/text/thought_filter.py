"""Separates thoughts from speech in a model's raw text, for `engine.text.answer_filter`."""

import re
from collections.abc import Sequence

from engine.types import Speech, Thought

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
_TAGS = (THINK_OPEN, THINK_CLOSE, "<thinking>", "</thinking>")
_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE | re.ASCII)


class ThoughtFilter:
    """Splits streamed raw text into speech and thoughts; the tags themselves vanish.

    Blocks nest, a stray closing tag is dropped and a block that never closes is thought to the
    end: when in doubt, nothing is spoken. A model that stutters its opening tag (only white
    space in between) has opened one block. Text that may still become a tag is held back.
    The result depends on the text only, not on how it is cut into pieces.
    """

    def __init__(self) -> None:
        self._held = ""  # the end of the text so far, if a tag may start there
        self._depth = 0  # open blocks
        self._fresh = False  # nothing but white space since the last opening tag

    @property
    def is_thinking(self) -> bool:
        """Whether a block is open; text that is held back does not count."""
        return self._depth > 0

    def feed(self, text: str) -> list[Speech | Thought]:
        """Take the next raw text; return the pieces that are certain now, in order, none empty."""
        text = self._held + text
        pieces: list[Speech | Thought] = []
        start = 0
        for tag in _TAG.finditer(text):
            self._emit(text[start : tag.start()], pieces)
            self._cross(closing=bool(tag[1]))
            start = tag.end()
        rest = text[start:]
        cut = len(rest) - possible_tag(rest, _TAGS)
        self._held = rest[cut:]
        self._emit(rest[:cut], pieces)
        return pieces

    def release(self) -> list[Speech | Thought]:
        """Return the text that was held back: it is not the beginning of a tag."""
        pieces: list[Speech | Thought] = []
        self._emit(self._held, pieces)
        self._held = ""
        return pieces

    def finish(self) -> list[Speech | Thought]:
        """End the text and return what was held back; the filter may then be used again."""
        pieces = self.release()
        self._depth, self._fresh = 0, False
        return pieces

    def _cross(self, *, closing: bool) -> None:
        if closing:
            self._depth = max(0, self._depth - 1)
            self._fresh = False
        elif not self._fresh:
            self._depth += 1
            self._fresh = True

    def _emit(self, text: str, pieces: list[Speech | Thought]) -> None:
        if not text:
            return
        if not text.isspace():
            self._fresh = False
        kind = Thought if self._depth else Speech
        if pieces and isinstance(pieces[-1], kind):
            pieces[-1] = kind(pieces[-1].text + text)
        else:
            pieces.append(kind(text))


def possible_tag(text: str, tags: Sequence[str]) -> int:
    """Length of the longest end of ``text`` that is the beginning of one of ``tags``."""
    start = text.rfind("<")
    if start < 0 or not text[start:].isascii():
        return 0
    end = text[start:].lower()
    return len(end) if any(tag.startswith(end) for tag in tags) else 0
