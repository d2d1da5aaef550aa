"""Ends calls of functions that a small model would never end.

A schema allows strings, numbers and lists of any length. Small models write such a value over and
over ("1234567890123..."), until the answer's limit cuts the call, which then cannot be made. Here a
call is watched as text: what goes round in circles is closed at the next place where the schema
allows it, and near the limit nothing is begun that need not be. What is long but does not repeat
itself is left alone.
"""

# Four times the same, and longer than what means something: 16 zeros, a matrix of ones.
_TIMES = 4
_SHORTEST = 40  # characters of repetition
_LONGEST_PERIOD = 96  # characters; an item of a list with two or three short fields
_RESERVE = 48  # tokens before the limit; what is open can be closed with fewer


class CallEnds:
    """Watches the text of one call, from its beginning."""

    def __init__(self) -> None:
        self._text = ""
        self._in_string = False
        self._escaped = False  # the letter after a backslash in a string
        self._has_looped = False
        self._loops = False

    def feed(self, text: str) -> None:
        """Take the next text of the call."""
        for letter in text:
            if self._escaped:
                self._escaped = False
            elif self._in_string and letter == "\\":
                self._escaped = True
            elif letter == '"':
                self._in_string = not self._in_string
        self._text = (self._text + text)[-_LONGEST_PERIOD * (_TIMES + 1) :]
        self._loops = loops(self._text)
        self._has_looped = self._has_looped or self._loops

    def closing(self, left: int) -> str:
        """The signs to write next if they are allowed, the best first; empty if the model may go
        on as it likes. ``left``: the tokens that the answer may still have."""
        if self._in_string:
            return '"' if self._loops and not self._escaped else ""
        if not self._has_looped and left > _RESERVE:
            return ""
        return "}]," if self._loops and self._text[-1:].isdigit() else "}]"


def loops(text: str) -> bool:
    """Whether ``text`` ends with the same few letters again and again."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = max(_SHORTEST, period * _TIMES)
        if length > len(text):
            return False
        if text[-length:-period] == text[period - length :]:
            return True
    return False
