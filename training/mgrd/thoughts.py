"""Thoughts in a closed grammar: grounded ones state what was measured, surrogate ones quote words.

A grounded thought is ``MEASURE then MEASURE ... so ANSWER``, and a measure is a name, a value and a
unit: ``pitch 210 hz then pitch 340 hz so rising``.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from client.evaluation.sets.drafts import Measure

TOLERANCE = 0.15  # of a stated number; the grids below are finer
LEAST_TOLERANCE = {"s": 0.06, "db": 3.0}
HZ_STEP = 1.1  # the ratio of two neighbours on the grid of pitches
UNITS = ("hz", "s", "db", "x")
CANNOT_HEAR = "i am a text model and cannot hear audio"
_STATED = re.compile(rf"(?P<name>[a-z]+) (?P<value>-?[a-z0-9.]+)(?: (?P<unit>{'|'.join(UNITS)}))?")
_CANNOT = re.compile(r"\bcannot (?:hear|listen)\b|\btext model\b|\bno access to audio\b")


@dataclass(frozen=True, slots=True)
class Grounding:
    """How many measures a thought states, how many of these are true, and what it concludes."""

    stated: int
    true: int
    conclusion: str


def grounded(measured: Sequence[Measure], answer: str) -> str:
    """What was measured, and the answer that follows."""
    return f"{' then '.join(map(_phrase, measured))} so {answer}"


def surrogate(words: str, answer: str) -> str:
    """The answer as if it came from the words; without words, from the question alone."""
    if not words:
        return f"the question asks what it sounds like so {answer}"
    return f"the voice says {plain_words(words)} so {answer}"


def plain_words(text: str) -> str:
    """Lower case, without signs."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def check(thought: str, measured: Sequence[Measure]) -> Grounding:
    """Hold what ``thought`` states against what is true of the sound, place by place: the second
    pitch against the second pitch. What is stated beyond the truth's number is false."""
    body, _, conclusion = thought.rpartition(" so ")
    left: dict[str, list[Measure]] = {}
    for measure in measured:
        left.setdefault(measure.name, []).append(measure)
    stated = true = 0
    for phrase in body.split(" then ") if body else []:
        found = _STATED.fullmatch(phrase.strip())
        if found is None or found["name"] not in left:
            continue
        stated += 1
        awaited = left[found["name"]]
        true += bool(awaited) and _is_true(found["value"], found["unit"] or "", awaited.pop(0))
    return Grounding(stated, true, conclusion.strip())


def denies_hearing(text: str) -> bool:
    """Whether the model says of itself that it cannot hear."""
    return _CANNOT.search(text.lower()) is not None


def grid() -> list[str]:
    """Every number that a thought may state, as it is written."""
    found = {_number(60 * HZ_STEP**step, "hz") for step in range(40)}
    found |= {_number(step / 20, "s") for step in range(1, 21)}
    found |= {_number(1 + step / 10, "s") for step in range(60)}
    found |= {_number(step, "db") for step in range(-30, 31, 5)}
    found |= {_number(step / 10, "x") for step in range(3, 31)}
    return sorted(found)


def _phrase(measure: Measure) -> str:
    if isinstance(measure.value, str) or not measure.unit:
        return f"{measure.name} {measure.value}"
    return f"{measure.name} {_number(measure.value, measure.unit)} {measure.unit}"


def _number(value: float, unit: str) -> str:
    """The nearest number of the unit's grid."""
    if unit == "hz":
        nearest = 60 * HZ_STEP ** round(math.log(value / 60, HZ_STEP))
        return f"{nearest:.0f}"
    if unit == "s":
        nearest = round(value * 20) / 20 if value < 1 else round(value, 1)
        return f"{max(nearest, 0.05):g}"
    if unit == "db":
        return f"{round(value / 5) * 5:d}"
    return f"{round(value, 1):g}"


def _is_true(value: str, unit: str, measure: Measure) -> bool:
    if isinstance(measure.value, str) or not measure.unit:
        return value == str(measure.value)
    try:
        stated = float(value)
    except ValueError:
        return False
    room = max(TOLERANCE * abs(measure.value), LEAST_TOLERANCE.get(unit, 0.0))
    return unit == measure.unit and abs(stated - measure.value) <= room
