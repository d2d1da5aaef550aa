"""Recordings of people as the server hears them: the pauses of each, and what is known at each.

A folder holds a `manifest.jsonl`, a line a recording: `file`, and what is known of `kind`,
`language`, `speaker`, `transcript`, `transcript_by`, `speech_end_s`. Only `file` must be there.

silero finds the pauses, with the server's settings. At each that lasts 150 ms or longer the ear
hears the words of the turn so far, and Smart Turn how complete it sounds, both when the server
would ask them. What they found is kept in the user's cache, by the hash of the file. A recording
that cannot be read is named and left out.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from duplex.audio.files import read_sound
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.turns.events import PauseStarted, SpeechResumed, SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroStream, SileroVad, TelephoneBass
from engine.ear.smart_turn import SmartTurn
from engine.ear.whisper import WhisperEar

COUNTED_MS = 150  # a shorter silence is no pause
TAIL_SAMPLES = 2 * SAMPLE_RATE
WORDS_SAMPLES = 24 * SAMPLE_RATE  # of a turn; the server too hears the end of a long one by itself
HEARING = 3  # raise it when what is kept changes
SAID_EVERY = 20  # recordings
_MS = SAMPLE_RATE // 1000
# Kinds of recordings that are what people say when they were asked: a word, a digit, letters. The
# server knows that it has asked.
ANSWERS = frozenset(["short", "digits", "spelling"])


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause as the server meets it.

    ``silence_ms`` is None at the end of the turn; ``lag_ms`` is then how far behind the true end
    of speech the detector put the pause's start, 0 where that end is not known. ``completeness``
    is the network's. ``is_asked``: it is of a recording that can only be an answer, see `ANSWERS`.
    """

    words: str
    completeness: float
    silence_ms: float | None
    lag_ms: float | None
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, its pauses, and what the ear makes of all of it."""

    file: str
    kind: str
    language: str
    speaker: str
    source: str
    turns: int  # that a server would find, if no pause ended one
    words: str
    pauses: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """What hears here."""

    vad: SileroVad
    ear: WhisperEar
    ear_name: str
    smart_turn: SmartTurn


def manifest(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of a folder's manifest, and what is wrong with those that cannot be read."""
    rows, wrong = [], []
    for number, line in enumerate((folder / "manifest.jsonl").read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            wrong.append(f"manifest.jsonl, line {number}: {error}")
            continue
        if isinstance(row, dict) and isinstance(row.get("file"), str):
            rows.append(row)
        else:
            wrong.append(f"manifest.jsonl, line {number}: no object with a file")
    return rows, wrong


def cache_dir() -> Path:
    """Where what was heard is kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "duplex-turn-taking"


def clips(
    folder: Path, rows: Sequence[dict[str, Any]], listener: Listener, cache: Path, wrong: list[str]
) -> Iterator[tuple[Clip, dict[str, Any]]]:
    """The recordings of a manifest's ``rows``, each with its row. What is wrong with those that are
    left out is added to ``wrong``."""
    cache.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows, 1):
        try:
            clip = clip_of(folder, row, listener, cache)
        except (OSError, ValueError, TypeError) as error:
            wrong.append(f"{row['file']}: {error}")
            print(f"left out: {wrong[-1]}", file=sys.stderr, flush=True)
            continue
        if number % SAID_EVERY == 0:
            print(f"{number} of {len(rows)} recordings", file=sys.stderr, flush=True)
        yield clip, row


def clip_of(folder: Path, row: dict[str, Any], listener: Listener, cache: Path) -> Clip:
    """One recording, from the cache if it was heard before.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no recording, or ``speech_end_s`` is no number of seconds.
        TypeError: as above.
    """
    path = folder / row["file"]
    end_s = None if row.get("speech_end_s") is None else float(row["speech_end_s"])
    key = f"{HEARING} {listener.ear_name} {end_s}"
    kept = cache / (hashlib.sha256(key.encode() + path.read_bytes()).hexdigest() + ".json")
    if kept.is_file():
        found = json.loads(kept.read_text("utf-8"))
    else:
        found = heard(path, end_s, listener)
        written = kept.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(found), "utf-8")
        written.replace(kept)
    source, kind = row.get("source"), str(row.get("kind") or "unknown")
    return Clip(
        row["file"],
        kind,
        str(row.get("language") or "unknown"),
        str(row.get("speaker") or row["file"]),
        str(source.get("repository", "")) if isinstance(source, dict) else str(source or ""),
        found["turns"],
        found["words"],
        tuple(Pause(**{**p, "is_asked": kind in ANSWERS}) for p in found["pauses"]),
    )


def heard(path: Path, speech_end_s: float | None, listener: Listener) -> dict[str, Any]:
    """What the server finds in a recording. Raises as `clip_of`."""
    samples, rate = read_sound(path)
    if not len(samples):
        raise ValueError("there is no sound in it")
    samples = with_tail(resample(samples, rate, SAMPLE_RATE))
    end = None if speech_end_s is None else round(speech_end_s * SAMPLE_RATE)
    bass = TelephoneBass() if rate < SAMPLE_RATE else None
    turns, pauses = listen(samples, end, listener, bass)
    words = listener.ear.transcribe(samples[: len(samples) - TAIL_SAMPLES])
    return {"turns": turns, "words": words, "pauses": [asdict(pause) for pause in pauses]}


def with_tail(samples: Samples) -> Samples:
    """A recording, with its own kind of silence behind it."""
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(np.float64)
    levels = np.sqrt((blocks**2).mean(axis=1)) if len(blocks) else np.zeros(1)
    noise = np.random.default_rng(0).standard_normal(TAIL_SAMPLES)
    return np.concatenate([samples, (np.percentile(levels, 5) * noise).astype(np.float32)])


@dataclass(frozen=True, slots=True)
class Silence:
    """Where a pause began, where the server knew of it, where speech resumed (None: never), and
    where the turn began, in samples."""

    at: int
    known: int
    resumed: int | None
    began: int


def listen(
    samples: Samples, end: int | None, listener: Listener, bass: TelephoneBass | None
) -> tuple[int, list[Pause]]:
    """How many times speech is found in a recording if no pause ends a turn, 0 or 1, and its
    pauses. ``end``: the true end of speech, where it is known; pauses behind it are of no turn."""
    turns, found = silences(samples, listener.vad.open(), bass)
    if end is not None:  # what sounds after the end of speech is no speech
        inner = [s for s in found if s.resumed is not None and s.at < end - SAMPLE_RATE // 20]
        found = inner + [replace(s, resumed=None) for s in found[len(inner) :][:1]]
    return turns, [known_at(silence, samples, end, listener) for silence in found]


def silences(
    samples: Samples, stream: SileroStream, bass: TelephoneBass | None
) -> tuple[int, list[Silence]]:
    """How many times speech begins, and the silences that are long enough to count."""
    detector = SpeechDetector(DetectorConfig(pause_ms=32))
    began = turns = 0
    paused: tuple[int, int] | None = None  # where, and where the server knew
    found: list[Silence] = []
    for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        frame = samples[start : start + FRAME_SAMPLES]
        for event in detector.feed(stream.feed(bass.feed(frame) if bass else frame)):
            match event:
                case SpeechStarted():
                    began, turns = event.from_sample, turns + 1
                case PauseStarted(at):
                    paused = at, start + FRAME_SAMPLES
                case SpeechResumed(at) if paused:
                    if at - paused[0] >= COUNTED_MS * _MS:
                        found.append(Silence(*paused, at, began))
                    paused = None
    if paused:
        found.append(Silence(*paused, None, began))
    return turns, found


def known_at(silence: Silence, samples: Samples, end: int | None, listener: Listener) -> Pause:
    """What the server knows at a pause."""
    at, resumed = silence.at, silence.resumed
    turn = samples[silence.began : silence.known]
    return Pause(
        listener.ear.transcribe(turn[-WORDS_SAMPLES:]),
        listener.smart_turn.completeness(turn),
        None if resumed is None else (resumed - at) / _MS,
        None if resumed is not None else 0.0 if end is None else (at - end) / _MS,
    )
