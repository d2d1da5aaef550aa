"""Mind-Paced Speaking: one model thinks and speaks at once, in two contexts (arXiv 2510.09592).

The *formulation* brain F reads the conversation and ``<think>`` and reasons; its log only grows.
The *articulation* brain A speaks: its step n reads the conversation, ``<think>``, the thoughts so
far, ``</think>`` and all it has said so far, and goes on for Tr tokens (`Pace.speech_tokens`).
Thoughts come in segments of Tc tokens (`Pace.thought_tokens`); while A speaks on segment n, F makes
segment n + 1. So A's log is a fork of F's, cut at a segment's end, and what must be prefilled in
step n is the end of the think block and what was said: ``len(think_close) + Tr * (n - 1)`` tokens.

Tokens made before the first spoken one: none in ``speak_first`` (A begins with an empty think
block), Tc in ``think_first``, or fewer if the thoughts end sooner. The two other ways to answer
are special cases of ``think_first``: ``thought_tokens = thought_limit`` is think-before-speak, and
``thought_limit = 0`` does not think (`Minds.of` picks the numbers).

Each brain is in one of these phases:

* F: *waiting* -> *thinking* (it was asked for a segment) -> *waiting* ... -> *over* (it closed its
  block, or its budget is used up).
* A: *waiting* -> *speaking* (a step) -> *waiting* ... until the answer is over.

A waiting A begins its next step when the first matching row of this table says so:

================================== ============================================
F is over                          always: it now has all its thoughts
A has not spoken yet               in ``speak_first``, or with one whole segment
later                              with a new whole segment, unless speech lasts
================================== ============================================

A waiting F begins its next segment while speech lasts, or when A has taken up all its segments.

What the paper leaves open is settled here (docs/decisions/0025-two-minds.md):

* *The playback clock.* While the speech that the caller has yet to hear lasts longer than
  `Pace.speak_margin_s`, nothing more need be said: F goes on past its segment, and A's next step
  waits. An infinite margin is the paper's lockstep. A's first step never waits for the clock.
* *Nothing new to speak on.* A step after the first waits for at least one new segment, even if
  the caller hears silence meanwhile.
* *F ends* by closing its block or at its budget; A then has all its thoughts at once, whatever the
  clock says, and speaks to the end of the turn in that step.
* *A ends its turn before F has ended.* A speaks again when it can have more thoughts. The answer
  is over when A ends it knowing all thoughts, or has ended `Pace.patience` steps in succession
  without a word while F was still thinking.

Pure: nothing here runs a model, reads a clock or knows text. Ids are kept as they came and never
tokenised again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Literal, Self

from engine.text.thought_filter import THINK_CLOSE
from engine.types import FinishReason, Thinking

MindsMode = Literal["think_first", "speak_first"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How the two brains take turns.

    ``speech_tokens``: 20 where the answer is text for a separate voice, 100 in ta4 (20 of them
    text, 80 audio: 3.2 s). ``thought_limit`` and ``speech_limit`` bound the whole answer.
    ``speak_margin_s``: how long A needs for its next first clause to be heard.
    """

    thought_tokens: int = 80
    speech_tokens: int = 20
    thought_limit: int = 2048
    speech_limit: int = 512
    speak_margin_s: float = math.inf
    patience: int = 3

    def __post_init__(self) -> None:
        positive = (self.thought_tokens, self.speech_tokens, self.speech_limit, self.patience)
        if min(positive) < 1 or self.thought_limit < 0 or not self.speak_margin_s >= 0:
            raise ValueError(f"out of range: {self}")


@dataclass(frozen=True, slots=True)
class Think:
    """F goes on for at most ``limit`` thoughts. Its log is the conversation's ids and what
    `Minds.formulation` holds."""

    limit: int


@dataclass(frozen=True, slots=True)
class Speak:
    """A speaks at most ``limit`` tokens, or to the end of its turn.

    Its log is the conversation's ids, the first ``shared`` of `Minds.formulation` (a fork of F's
    log, which may still lack the newest of them) and ``prefill``. ``continues``: A's log already
    is that, as the last step left it.
    """

    shared: int
    prefill: tuple[int, ...]
    limit: int
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is over; F is to stop if it still thinks."""

    reason: FinishReason


class Minds:
    """The schedule of the two brains for one answer; used once.

    The caller asks `decide` after every token and whenever the clock may matter, does what it
    says, and reports the result with `thought`, `thoughts_ended`, `spoke` and `speech_ended`. Each
    brain does one thing at a time: it is given another only after it has made its ``limit`` of
    tokens, or has ended.
    """

    def __init__(
        self,
        mode: MindsMode,
        pace: Pace,
        *,
        think_open: Sequence[int],
        think_close: Sequence[int],
        no_thoughts: Sequence[int],
    ) -> None:
        """The ids that open the think block, that close it and lead to speech, and that stand
        for both if there are no thoughts (``<think>\\n\\n</think>\\n``, which a tokenizer does
        not write as the other two joined). In ta4 the last two end with ``<tts_start>``."""
        self._mode = mode
        self._pace = pace
        self._open = tuple(think_open)
        self._close = tuple(think_close)
        self._no_thoughts = tuple(no_thoughts)
        self._thoughts: list[int] = []
        self._said: list[int] = []
        self._thoughts_over = self.never_thinks
        self._think_until: int | None = None  # thoughts at the end of F's segment, if it thinks
        self._speak_until: int | None = None  # tokens said at the end of A's step, if it speaks
        self._step_start = 0  # tokens said before A's newest step
        self._given: int | None = None  # thoughts that A's newest step knows; None before any
        self._stopped = False  # A's newest step ended its turn
        self._empty_steps = 0  # in succession, that ended the turn without a word
        self._finished = False

    @classmethod
    def of(
        cls,
        thinking: Thinking,
        pace: Pace,
        *,
        thought_limit: int,
        speech_limit: int,
        think_open: Sequence[int],
        think_close: Sequence[int],
        no_thoughts: Sequence[int],
    ) -> Self:
        """The course of an answer that thinks as ``thinking`` says, within the given limits.

        Thinking before speech is one segment that is as long as the budget.
        """
        paced = thinking != "before" and thought_limit > 0
        own = Pace(
            pace.thought_tokens if paced else max(1, thought_limit),
            pace.speech_tokens,
            thought_limit,
            speech_limit,
            pace.speak_margin_s if paced else math.inf,
            pace.patience,
        )
        return cls(
            "speak_first" if paced and thinking == "speak_first" else "think_first",
            own,
            think_open=think_open,
            think_close=think_close,
            no_thoughts=no_thoughts,
        )

    @property
    def thoughts(self) -> Sequence[int]:
        """All thoughts so far."""
        return self._thoughts

    @property
    def said(self) -> Sequence[int]:
        """All tokens that A has said so far, without those that precede them in its log."""
        return self._said

    @property
    def never_thinks(self) -> bool:
        """Whether there are no thoughts at all: then A may write to the call's own log."""
        return self._pace.thought_limit == 0

    @property
    def thoughts_wanted(self) -> int:
        """How many thoughts F's segment still lacks; 0 if F was not asked to think.

        It may be more than F has left to make of its limit: some tokens are held back as a possible
        tag.
        """
        return 0 if self._think_until is None else self._think_until - len(self._thoughts)

    @property
    def knows_all(self) -> bool:
        """Whether A's newest step was given all thoughts there will be."""
        return self._thoughts_over and self._given == len(self._thoughts)

    @property
    def formulation(self) -> list[int]:
        """The ids of F's log after the conversation; the newest may not be in the log yet."""
        return [*self._open, *self._thoughts]

    def thought(self, token: int) -> None:
        """Report that F thought ``token``, which does not belong to a closing tag (`TagWatch`).

        Raises:
            RuntimeError: F was not asked to think.
        """
        self._check_thinking()
        self._thoughts.append(token)
        if len(self._thoughts) == self._think_until:
            self._think_until = None
            self._thoughts_over = len(self._thoughts) == self._pace.thought_limit

    def thoughts_ended(self) -> None:
        """Report that F closed its think block or ended its turn.

        Raises:
            RuntimeError: F was not asked to think.
        """
        self._check_thinking()
        self._think_until = None
        self._thoughts_over = True

    def spoke(self, token: int) -> None:
        """Report that A said ``token``.

        Raises:
            RuntimeError: A was not asked to speak.
        """
        self._check_speaking()
        self._said.append(token)
        self._empty_steps = 0
        if len(self._said) == self._speak_until:
            self._speak_until = None

    def speech_ended(self) -> None:
        """Report that A ended its turn, by a token that is not part of the answer.

        Raises:
            RuntimeError: A was not asked to speak.
        """
        self._check_speaking()
        self._speak_until = None
        self._stopped = True
        if len(self._said) == self._step_start:
            self._empty_steps += 1

    def decide(self, speech_ahead_s: float = 0.0) -> list[Think | Speak | Finish]:
        """Decide what begins now; empty if nothing does.

        ``speech_ahead_s``: how long the speech lasts that was made and not yet heard, with what
        the voice has still to synthesise.
        """
        if self._finished:
            return []
        if reason := self._end():
            self._finished = True
            return [Finish(reason)]
        lasts = speech_ahead_s > self._pace.speak_margin_s
        actions: list[Think | Speak | Finish] = []
        # A first: F may go on only if A has taken up all its segments.
        if self._may_speak(lasts):
            actions.append(self._speak())
        if self._may_think(lasts):
            room = self._pace.thought_limit - len(self._thoughts)
            limit = min(self._pace.thought_tokens, room)
            self._think_until = len(self._thoughts) + limit
            actions.append(Think(limit))
        return actions

    def _end(self) -> FinishReason | None:
        if self._speak_until is not None:
            return None
        gave_up = self._empty_steps >= self._pace.patience and not self._thoughts_over
        if self._stopped and (self.knows_all or gave_up):
            return "stop"
        return "length" if len(self._said) == self._pace.speech_limit else None

    def _complete(self) -> int:
        """How many thoughts are in segments that are complete."""
        held = len(self._thoughts)
        return held if self._thoughts_over else held - held % self._pace.thought_tokens

    def _may_think(self, lasts: bool) -> bool:
        if self._thoughts_over or self._think_until is not None:
            return False
        return lasts or self._complete() == (self._given or 0)

    def _may_speak(self, lasts: bool) -> bool:
        if self._speak_until is not None:
            return False
        if self._thoughts_over:
            return True
        if self._given is None:
            return self._mode == "speak_first" or self._complete() > 0
        return self._complete() > self._given and not lasts

    def _speak(self) -> Speak:
        thoughts = self._complete()
        continues = thoughts == self._given  # or its turn would have ended for good
        self._given = thoughts
        self._stopped = False
        self._step_start = len(self._said)
        limit = self._pace.speech_limit - len(self._said)
        if not self._thoughts_over:
            limit = min(limit, self._pace.speech_tokens)
        self._speak_until = len(self._said) + limit
        shared = len(self._open) + thoughts if thoughts else 0
        block = self._close if thoughts else self._no_thoughts
        return Speak(shared, (*block, *self._said), limit, continues)

    def _check_thinking(self) -> None:
        if self._finished or self._think_until is None:
            raise RuntimeError("the formulation brain was not asked to think")

    def _check_speaking(self) -> None:
        if self._finished or self._speak_until is None:
            raise RuntimeError("the articulation brain was not asked to speak")


class TagWatch:
    """Separates thoughts from the tag that ends them.

    The tag is plain text of several tokens (``</``, ``think``, ``>`` or ``>\\n\\n``), so a token
    is a thought only when what follows shows that the tag does not begin in it.
    """

    def __init__(self, tag: str = THINK_CLOSE) -> None:
        self._tag = tag
        self._held: list[tuple[int, str]] = []  # tokens in which the tag may begin, and after
        self.is_closed = False

    def feed(self, token: int, text: str) -> list[tuple[int, str]]:
        """Take the next ``token``, which completes ``text``; return the tokens that are now certain
        to be thoughts, each with the text that it completes.

        The token in which the tag begins is not a thought, nor is any after it. Tokens that are
        held back when the thoughts are cut short may be the beginning of a tag: leave them out.

        Raises:
            RuntimeError: the tag was found before.
        """
        if self.is_closed:
            raise RuntimeError("the thoughts have ended")
        self._held.append((token, text))
        held = "".join(part for _, part in self._held)
        start = held.find(self._tag)
        self.is_closed = start >= 0
        if not self.is_closed:
            start = len(held) - _possible_start(held, self._tag)
        ends = accumulate(len(part) for _, part in self._held)
        certain = sum(1 for _ in takewhile(lambda end: end <= start, ends))
        thoughts = self._held[:certain]
        del self._held[:certain]
        return thoughts


def _possible_start(text: str, tag: str) -> int:
    """Length of the longest end of ``text`` that is the beginning of ``tag``."""
    lengths = range(min(len(text), len(tag) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(tag[:length])), 0)
