"""What is asked and what was answered: plain data, one JSON line an answer."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec import DecodeError, Struct, ValidationError, json
from numpy.typing import NDArray

from duplex.audio.formats import encode_pcm16

RATE_HZ = 24_000
Samples = NDArray[np.float32]  # mono in [-1, 1] at 24 kHz


class Speaker(Protocol):
    """A voice that speaks a text: 24 kHz, at a multiple of its usual pace, moved by semitones.
    The same arguments give the same samples."""

    def __call__(self, text: str, *, speed: float = 1.0, semitones: int = 0) -> Samples: ...


@dataclass(frozen=True, slots=True)
class Sound:
    """Something to be heard. ``render`` may compute for seconds, so it is called when it is the
    item's turn, in a thread. ``words`` are what is said in it, as far as they are known."""

    render: Callable[[], Samples]
    words: str = ""


Part = Sound | str


@dataclass(frozen=True, slots=True)
class Item:
    """One question, in one ``condition``: asked as sound, as text, ... An id is asked once in
    each condition, so that these can be compared question by question.

    ``scorer`` is a name in `scorers.SCORERS`, and ``gold`` what that scorer needs. ``chance`` is
    the share that guessing gets right, if the answers can be counted.
    """

    id: str
    condition: str
    category: str
    parts: tuple[Part, ...]  # in the order in which they are sent
    scorer: str
    gold: Mapping[str, Any]
    instructions: str | None = None
    chance: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What a record is found by."""
        return self.id, self.condition


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target said. Times are from asking for the answer. ``heard``: the target's own
    transcript of what it was played. ``samples``: the answer as sound, if that was asked for."""

    text: str = ""
    thought: str = ""
    heard: str = ""
    first_text_ms: float | None = None
    first_audio_ms: float | None = None
    done_ms: float | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    samples: Samples | None = None
    is_cut: bool = False  # it ran into the target's limit of tokens
    error: str | None = None


class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An answer on disk, with all that is needed to score it again without its set.

    ``prompt`` has the text parts as they are, and of sound its words and its hash. ``speech`` is
    the answer's sound as a file beside the records, ``speech_heard`` what an ear made of it.
    """

    id: str
    condition: str
    category: str
    prompt: list[str]
    scorer: str
    gold: dict[str, Any]
    chance: float | None = None
    answer: str = ""
    thought: str = ""
    heard: str = ""
    first_text_ms: float | None = None
    first_audio_ms: float | None = None
    done_ms: float | None = None
    tokens: dict[str, int] = {}
    speech: str | None = None
    speech_heard: str | None = None
    judged: str | None = None  # a judge's own words
    is_cut: bool = False
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """As `Item.key`."""
        return self.id, self.condition

    @property
    def scored_text(self) -> str:
        """What counts: the answer as it was heard, if it was spoken and listened to."""
        return self.answer if self.speech_heard is None else self.speech_heard


def sound_hash(samples: Samples) -> str:
    """By which two runs can tell that they played the same: of the samples as 16 bit PCM."""
    return hashlib.sha256(encode_pcm16(samples)).hexdigest()


def read_records(path: Path) -> list[Record]:
    """The records of a file, the last one of each question. None if the file is not there. The
    last line may be broken off: a run may have been killed in mid-write.

    Raises:
        ValueError: another line is no record; the message names it.
        OSError: the file cannot be read.
    """
    if not path.exists():
        return []
    found: dict[tuple[str, str], Record] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.decode(line, type=Record)
        except (DecodeError, ValidationError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: {error}") from error
        found[record.key] = record
    return list(found.values())


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write them anew, one a line.

    Raises:
        OSError: the file cannot be written.
    """
    fresh = path.with_suffix(".new")
    fresh.write_bytes(b"".join(json.encode(record) + b"\n" for record in records))
    fresh.replace(path)
