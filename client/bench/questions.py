"""The texts that the callers speak, and how a recording is put together from them."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.bench.plan import Recordings
from client.realtime import SAMPLE_RATE_HZ
from client.sound.speech import Recording, read_speech, speech_bounds
from duplex.audio.files import SUFFIXES, sounds_in

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
    talkative: tuple[Question, ...]
    interruptions: tuple[Question, ...]
    backchannels: tuple[Question, ...]


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


def record_all(questions: QuestionSet, speak: Speak) -> Recordings:
    """Have a voice say everything that the bench's callers say."""
    return Recordings(
        *(
            [record(question, speak) for question in part]
            for part in (
                questions.ordinary,
                questions.pauses,
                questions.long,
                questions.talkative,
                questions.interruptions,
                questions.backchannels,
            )
        )
    )


def read_recordings(folder: Path) -> Recordings:
    """Recordings of one's own: sound files in ``folder`` are the questions, those in its folders
    ``pauses``, ``long``, ``talkative``, ``interruptions`` and ``backchannels`` the rest. What a
    file says stands in a .txt of the same name, if it is to be scored.

    Raises:
        ValueError: there are no questions, two files of one name, or a file is no recording or
            holds no speech.
        OSError: a file cannot be read.
    """
    names = ("pauses", "long", "talkative", "interruptions", "backchannels")
    found = Recordings(_read(folder), *(_read(folder / name) for name in names))
    if not found.ordinary:
        others = ", ".join(suffix for suffix in SUFFIXES if suffix != ".wav")
        raise ValueError(f"there is no .wav file in {folder}, nor one of {others}")
    return found


def _read(folder: Path) -> list[Recording]:
    paths, recordings = sounds_in(folder), []
    for path, following in pairwise(paths):
        if path.stem == following.stem:
            raise ValueError(f"{path} and {following.name} are recordings of one name")
    for path in paths:
        samples = read_speech(path)
        text = path.with_suffix(".txt")
        words = text.read_text("utf-8").strip() if text.exists() else ""
        recordings.append(Recording(f"{folder.name}-{path.stem}", words, samples))
    return recordings


def _question(entry: dict[str, Any]) -> Question:
    if "text" in entry:
        return Question(entry["id"], (entry["text"],))
    return Question(entry["id"], tuple(entry["parts"]), tuple(entry["pause_ms"]))
