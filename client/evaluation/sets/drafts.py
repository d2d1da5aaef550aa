"""A question about a sound before it is asked, and what is known of that sound."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client.evaluation.items import Samples, Speaker

Render = Callable[[Speaker], Samples]


@dataclass(frozen=True, slots=True)
class Measure:
    """What is true of a sound because it was made so: a number with its unit, or a class."""

    name: str
    value: float | str
    unit: str = ""  # "hz", "s", "db"; "x" is a ratio


@dataclass(frozen=True, slots=True)
class Draft:
    """A question before it is asked: its sound, the words in it, and the answer. ``measured`` is
    what the answer follows from, in the order in which it is heard."""

    render: Render
    words: str
    question: str
    scorer: str
    gold: dict[str, Any]
    chance: float
    measured: tuple[Measure, ...] = ()
