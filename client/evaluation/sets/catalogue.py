"""The sets there are, by name: what they are, and how their questions are got."""

from dataclasses import dataclass
from pathlib import Path

from client.evaluation.about import About
from client.evaluation.items import Item, Speaker
from client.evaluation.sets import sounds, spoken

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
ABOUT = {about.name: about for about in (SOUNDS, SPOKEN)}


def load(name: str, wanted: Wanted, speaker: Speaker) -> list[Item]:
    """The questions of a set, at most ``limit`` of them, each in all of its conditions.

    Raises:
        ValueError: there is no such set, or its data are not there or not what they should be.
        OSError: a file cannot be read.
    """
    if name == "sounds":
        return sounds.load(wanted.limit or DEFAULT_COUNT, wanted.seed, speaker)
    if name == "spoken":
        if wanted.data is None:
            raise ValueError("spoken needs --data: the folder with the questions' files")
        return spoken.load(Path(wanted.data), wanted.limit or DEFAULT_COUNT, wanted.seed, speaker)
    raise ValueError(f"there is no set {name}; there are {', '.join(ABOUT)}")
