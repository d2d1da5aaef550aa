"""How long a pause may last before the turn is over, judged by its words, its sound and the turn so
far. Pure.

A logistic regression, trained on recordings of people, gives how likely the turn ends here; a table
turns that into a silence to wait. A sure end is answered soon. An unsure one waits longer, since
silence that lasts is evidence itself. `benchmarks/turn_taking/train_endpointing.py` trains it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_taking.end_sound import SOUND_NAMES
from duplex.turns.dictation import is_dictating
from duplex.turns.endpointing import ends_openly

Curve = Literal["quick", "usual", "patient"]

COUNTED_MS = 150  # a shorter silence is no pause

WORD_NAMES = (
    "no_words",
    "full_stop",
    "question",
    "trails_off",  # no mark, or three dots
    "comma",
    "calls_for_more",  # by the rules on English words
    "log_words",  # of the last sentence
    "log_all_words",
    "sentences",
    "digits",  # share of the last sentence's words
    "question_word",  # the last sentence begins like a question or a request
    "words_a_second",
)
TURN_NAMES = (
    "log_speech",
    "log_phrase",
    "pauses",  # before this one
    "longest_pause",
    "mean_pause",
)
NAMES = (*WORD_NAMES, *TURN_NAMES, *SOUND_NAMES)
_ASKING = re.compile(
    r"(what|which|who|whom|whose|where|when|how|why|can|could|will|would|is|are|do|does|did"
    r"|may|please|set|turn|make|play|give|show|tell|call|stop|start|open|close)\b"
)


@dataclass(frozen=True, slots=True)
class TurnSoFar:
    """The turn up to a pause: how long it is, how long since the pause before, and the pauses
    before, in ms. ``sound`` is `end_sound.sound_of` of what was heard last."""

    speech_ms: float
    phrase_ms: float
    pauses_ms: tuple[float, ...]
    sound: Sequence[float]


def features(words: str, turn: TurnSoFar) -> NDArray[np.float64]:
    """``NAMES`` of a pause."""
    text = words.strip().lower().replace("’", "'")
    sentences = [part for part in re.split(r"(?<=[.?!])\s+", text) if part]
    last = sentences[-1] if sentences else ""
    said = re.findall(r"[^\W_]+(?:'[^\W_]+)?", last)
    count = len(re.findall(r"[^\W_]+", text))
    trails = text.endswith(("..", "…")) or (bool(text) and text[-1] not in ".?!,。？！")
    of_words = (
        not text,
        text.endswith((".", "!", "。", "！")) and not trails,
        text.endswith(("?", "？")),
        trails,
        text.endswith(","),
        ends_openly(text),
        np.log1p(len(said)),
        np.log1p(count),
        min(len(sentences), 5),
        sum(word.isdigit() for word in said) / max(1, len(said)),
        bool(_ASKING.match(last)),
        min(8.0, count * 1000 / max(200.0, turn.speech_ms)),
    )
    pauses = turn.pauses_ms
    of_turn = (
        np.log(max(100.0, turn.speech_ms) / 1000),
        np.log(max(100.0, turn.phrase_ms) / 1000),
        min(len(pauses), 6),
        min(1500.0, max(pauses, default=0.0)) / 1000,
        min(1500.0, sum(pauses) / max(1, len(pauses))) / 1000,
    )
    return np.array([*of_words, *of_turn, *turn.sound], np.float64)


class EndJudge:
    """The trained regression and its table; shared by all calls.

    Args:
        weights: ``mean``, ``scale`` and ``weight`` for each of `NAMES`, ``bias``, and the table:
            ``scores``, rising, and ``waits_ms``, falling, of each curve.
    """

    def __init__(self, weights: dict[str, Any]) -> None:
        self._mean = np.array(weights["mean"])
        self._weight = np.array(weights["weight"]) / np.array(weights["scale"])
        (self._bias,) = weights["bias"]
        self._scores = np.array(weights["scores"])
        self._waits = {name: np.array(weights[f"{name}_ms"]) for name in get_args(Curve)}

    def score(self, words: str, turn: TurnSoFar) -> float:
        """The log odds that the turn ends at this pause."""
        return float((features(words, turn) - self._mean) @ self._weight + self._bias)

    def wait_ms(self, words: str, turn: TurnSoFar, curve: Curve = "usual") -> int:
        """The silence to wait. A dictation that goes on is given the curve's longest."""
        waits = self._waits[curve]
        wait = np.interp(self.score(words, turn), self._scores, waits)
        return round(float(max(wait, waits[0]) if is_dictating(words) else wait))
