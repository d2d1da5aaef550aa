"""The texts that the callers speak, and how a recording is put together from them."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from client.speech import Recording, speech_bounds

Speak = Callable[[str], NDArray[np.float32]]  # text -> 24 kHz samples


@dataclass(frozen=True, slots=True)
class Question:
    """Something to say: its parts, with ``pauses_ms`` of silence between them."""

    id: str
    parts: tuple[str, ...]
    pauses_ms: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The whole of it."""
        return " ".join(self.parts)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Everything in questions.toml."""

    ordinary: tuple[Question, ...]
    pauses: tuple[Question, ...]
    dialogue: tuple[Question, ...]
    long: tuple[Question, ...]


def load_questions() -> QuestionSet:
    """Read the texts that come with the package."""
    table = tomllib.loads(files("client.bench").joinpath("questions.toml").read_text("utf-8"))
    return QuestionSet(**{name: tuple(map(_question, entries)) for name, entries in table.items()})


def record(question: Question, speak: Speak) -> Recording:
    """Have a voice say it. The parts' own silence is cut away, so that a pause lasts exactly
    as long as it should; a little stays around the whole."""
    margin = np.zeros(SAMPLE_RATE_HZ // 10, dtype=np.float32)
    pieces = [margin]
    for part, pause_ms in zip(question.parts, (*question.pauses_ms, None), strict=True):
        samples = speak(part)
        bounds = speech_bounds(samples)
        pieces.append(samples[bounds.first_sample : bounds.last_sample + 1])
        if pause_ms is not None:
            pieces.append(np.zeros(pause_ms * SAMPLE_RATE_HZ // 1000, dtype=np.float32))
    return Recording(question.id, question.text, np.concatenate([*pieces, margin]))


def _question(entry: dict[str, Any]) -> Question:
    if "text" in entry:
        return Question(entry["id"], (entry["text"],))
    return Question(entry["id"], tuple(entry["parts"]), tuple(entry["pause_ms"]))
