"""The sets there are, by name: what they are, and how their questions are got."""

from dataclasses import dataclass
from pathlib import Path

from client.evaluation.about import About
from client.evaluation.items import Speaker
from client.evaluation.sets import published, sounds, spoken
from client.evaluation.sets.published import Loaded

DEFAULT_COUNT = 120  # questions of a set that is made on the spot


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: ``data`` is a folder or a name on the hub."""

    limit: int | None = None
    seed: int = 0
    data: str | None = None


SOUNDS = About(
    "sounds",
    "Sounds made on the spot",
    "made by this program",
    "none needed",
    "The choice, the number or the order that the answer names; see docs/evaluation.md.",
)
SPOKEN = About(
    "spoken",
    "Questions spoken by our voice",
    "BIG-Bench Hard (github suzgunmirac/BIG-Bench-Hard), GSM8K (github "
    "openai/grade-school-math), WebQuestions (github brmson/dataset-factoid-webquestions)",
    "MIT; MIT; CC-BY 4.0",
    "Choices and numbers: what follows the last 'the answer is', else the only choice or the last "
    "number. WebQuestions: any accepted answer as a run of words.",
)
ABOUT = {
    about.name: about
    for about in (SOUNDS, SPOKEN, *(spec.about for spec in published.SPECS.values()))
}


def load(name: str, wanted: Wanted, speaker: Speaker) -> Loaded:
    """The questions of a set, at most ``limit`` of them, each in all of its conditions.

    Raises:
        ValueError: there is no such set, or its data are not there or not what they should be.
        OSError: a file cannot be read.
    """
    if name == "sounds":
        return Loaded(sounds.load(wanted.limit or DEFAULT_COUNT, wanted.seed, speaker))
    if name == "spoken":
        if wanted.data is None:
            raise ValueError("spoken needs --data: the folder with the questions' files")
        count = wanted.limit or DEFAULT_COUNT
        return Loaded(spoken.load(Path(wanted.data), count, wanted.seed, speaker))
    if name not in published.SPECS:
        raise ValueError(f"there is no set {name}; there are {', '.join(ABOUT)}")
    return published.load(published.SPECS[name], wanted.data, wanted.limit, wanted.seed)
