"""Keeps one answer to the rules for its calls of functions, token by token.

An answer is in one of these states. Only in the first is the model free, and there nothing is done
but to look at the text for the beginning of a call.

========= =============================================== ==========================================
state     what it means                                   what may come next
========= =============================================== ==========================================
FREE      thoughts or speech                              all but a call that breaks the rules
CALL      in a call, after its opening tag or brace       what the parser of the call allows
CLOSING   the arguments are whole                         the closing tag
BETWEEN   a call is over, and there may be another        the next opening tag, or the end
OVER      the last call is over                           the end
========= =============================================== ==========================================
"""

import copy
import logging
from collections import deque
from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Protocol

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from engine.brain.call_ends import CallEnds
from engine.brain.call_language import CallParsers
from engine.text.answer_filter import AnswerFilter
from engine.text.tool_calls import CALL_CLOSE
from engine.types import CallRule

logger = logging.getLogger(__name__)

Bits = NDArray[np.uint8]  # [V / 8], a bit for each token, the lowest first

MAX_CALLS = 16  # of one answer: a small model makes calls without end
_MOST_FORCED = 64  # tokens of one step
_MAY_BEGIN_CALL = frozenset("<{`")
_NOT_SPOKEN = frozenset("{}[]<>`_=|\\*#")


class Words(Protocol):
    """The part of `engine.brain.chat_format.Renderer` that a guard needs."""

    stop_ids: frozenset[int]

    def plain(self, text: str) -> list[int]:
        """Ids of ``text``."""

    def token_text(self, token: int) -> str:
        """The text of a token by itself."""

    def call_tokens(self, text: str) -> list[int]:
        """``text`` in some tokens, to be read by a parser."""


class TextReader(Protocol):
    """Reads ids as text; see `engine.brain.chat_format.TextStream`."""

    def feed(self, token: int) -> str:
        """The text that ``token`` completes."""


class _State(Enum):
    FREE = auto()
    CALL = auto()
    CLOSING = auto()
    BETWEEN = auto()
    OVER = auto()


class CallGuard:
    """The guard of one answer. Used by the thread that decodes; it is told of every token.

    A call in a model's own tags and one that is bare JSON, with a code fence or without, are kept
    to the same rules; an answer that is bare JSON ends with it.
    """

    def __init__(
        self,
        words: Words,
        reader: TextReader,
        parsers: CallParsers | None,
        rule: CallRule,
        *,
        offers: bool,
        between: str,
        max_tokens: int,
    ) -> None:
        """``parsers`` None: no call may be begun, or none can be kept to the rules. ``offers``:
        functions are offered. ``between`` is the text from one call to the next, up to the end
        of its opening tag. The answer is cut after ``max_tokens`` that are taken."""
        self._words = words
        self._reader = reader
        self._parsers = parsers
        self._rule = rule
        self._may_call = rule.may and offers
        self._must_speak = offers and not rule.may
        self._between = between
        self._left = max_tokens
        self._state = _State.FREE
        self._filter = AnswerFilter(expects_calls=offers)
        self._has_word = False
        self._parser: LLMatcher | None = None  # of the open call
        self._ends = CallEnds()  # of the open call
        self._is_bare = False
        self._call: list[int] = []  # the tokens of the open call
        self._calls: list[str] = []  # the texts of those that are over
        self._forced: deque[int] = deque()

    @property
    def in_call(self) -> bool:
        """Whether a call has begun; it has to repeat itself: brackets, quotes, what was said."""
        return self._state is not _State.FREE

    @property
    def is_over(self) -> bool:
        """Whether nothing may follow but the end."""
        return self._state is _State.OVER

    @property
    def may_stop(self) -> bool:
        """Whether the model may end the answer here."""
        return self._state in (_State.FREE, _State.BETWEEN, _State.OVER)

    def begin(self, text: str) -> None:
        """Take the beginning of the answer, which was not decoded."""
        self._watch(text)

    def forced(self) -> Sequence[int]:
        """The tokens that have to come next, as far as that is known."""
        if self._state is _State.CALL and self._parser is not None:
            ids: list[int] = self._parser.compute_ff_tokens()
            return ids[:_MOST_FORCED]
        return tuple(self._forced)

    def mask(self) -> Bits | None:
        """The tokens that may come next, packed; None if all may."""
        match self._state:
            case _State.CALL if self._parser is not None:
                bits = np.frombuffer(self._parser.compute_bitmask(), np.uint8)
                return None if self._gave_up() else self._closed(bits)
            case _State.CLOSING:
                return _packed([self._forced[0]])
            case _State.BETWEEN:
                if self._forced:
                    return _packed([self._forced[0]])
                return _packed([*self._words.stop_ids, self._words.plain(self._between)[0]])
            case _State.OVER:
                return _packed(self._words.stop_ids)
            case _:
                return None

    def _closed(self, bits: Bits) -> Bits:
        """``bits``, or the one of them that closes what would never end."""
        for sign in self._ends.closing(self._left):
            token = self._words.plain(sign)[0]
            if token // 8 < len(bits) and bits[token // 8] >> token % 8 & 1:
                return _packed([token])
        return bits

    def refuses(self, token: int) -> bool:
        """Whether ``token``, which ``mask`` allows, begins a call that breaks the rules."""
        if self._state is not _State.FREE or token in self._words.stop_ids:
            return False
        text = self._words.token_text(token)
        if self._must_speak:
            return self._is_no_speech(text)
        if self._filter.is_clear and not _MAY_BEGIN_CALL.intersection(text):
            return False
        trial = copy.deepcopy(self._filter)
        trial.feed(text)
        if (begun := trial.begun) is None:
            return False
        if not self._may_call:
            return True
        if self._parsers is None:
            return False
        is_bare, rest = begun
        if rest is None:
            return True  # not even looked at by a parser
        parser = self._parsers.bare if is_bare else self._parsers.tagged
        read = self._words.call_tokens(rest)
        return parser.deep_copy().try_consume_tokens(read) < len(read)

    def _is_no_speech(self, text: str) -> bool:
        """Whether ``text`` cannot be part of an answer that has to be spoken: a sentence begins
        with a letter or a digit, and has no signs of code."""
        begins = text.strip()[:1]
        wrong = not self._has_word and begins and not begins.isalnum()
        return bool(wrong) or bool(_NOT_SPOKEN.intersection(text))

    def take(self, token: int) -> None:
        """Note that ``token`` came."""
        if token in self._words.stop_ids:
            return
        self._left -= 1
        match self._state:
            case _State.FREE:
                self._watch(self._reader.feed(token))
            case _State.CALL:
                self._read(token)
            case _State.CLOSING:
                self._forced.popleft()
                if not self._forced:
                    self._state = _State.BETWEEN
            case _State.BETWEEN:
                self._open_next()
            case _State.OVER:
                pass

    def _watch(self, text: str) -> None:
        self._has_word = self._has_word or bool(text.strip())
        self._filter.feed(text)
        if (begun := self._filter.begun) is not None:
            self._is_bare, rest = begun
            self._enter(rest)

    def _enter(self, read: str | None) -> None:
        """A call begins; ``read`` of it was read, or more than a parser can be told (None)."""
        self._state = _State.CALL
        self._call = []
        self._ends = CallEnds()
        if self._parsers is None or read is None:
            self._parser = None
            return
        self._ends.feed(read)
        self._parser = (self._parsers.bare if self._is_bare else self._parsers.tagged).deep_copy()
        if read:
            self._parser.consume_tokens(self._words.call_tokens(read))
            self._gave_up()

    def _read(self, token: int) -> None:
        self._call.append(token)
        if self._parser is None:
            self._read_unparsed(token)
            return
        self._parser.consume_token(token)
        self._ends.feed(self._words.token_text(token))
        if not self._gave_up() and self._parser.is_accepting():
            self._end()

    def _read_unparsed(self, token: int) -> None:
        """Without a parser the end of the only call is still known by its tag."""
        self._filter.feed(self._reader.feed(token))
        if self._filter.begun is None and not self._is_bare and not self._rule.many:
            self._state = _State.OVER

    def _gave_up(self) -> bool:
        """Whether the parser has failed, at a limit of its own. The rest of the call is checked by
        its reader only."""
        if self._parser is None or not self._parser.is_error():
            return self._parser is None
        logger.warning("a call is not kept to its schema: %s", self._parser.stop_reason())
        self._parser = None
        return True

    def _end(self) -> None:
        """The arguments are whole."""
        text = "".join(map(self._words.token_text, self._call))
        repeats = text in self._calls
        self._calls.append(text)
        if self._is_bare or not self._rule.many or repeats or len(self._calls) == MAX_CALLS:
            self._state = _State.OVER
            return
        self._state = _State.CLOSING
        self._forced.extend(self._words.plain(CALL_CLOSE))

    def _open_next(self) -> None:
        if not self._forced:
            self._forced.extend(self._words.plain(self._between))
        self._forced.popleft()
        if not self._forced:
            self._enter("")


def unpacked(bits: Bits, size: int) -> NDArray[np.bool_]:
    """``bits`` as [``size``]; tokens beyond them are not allowed."""
    allowed = np.zeros(size, np.bool_)
    known = np.unpackbits(bits, bitorder="little")[:size]
    allowed[: len(known)] = known
    return allowed


def _packed(tokens: Collection[int]) -> Bits:
    bits = np.zeros(max(tokens) // 8 + 1, np.uint8)
    for token in tokens:
        bits[token // 8] |= 1 << token % 8
    return bits
