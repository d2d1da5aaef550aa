"""Recordings of people as the server hears them: the pauses of each, and what is known at each.

A folder holds a `manifest.jsonl`, a line a recording: `file`, and what is known of `kind`,
`language`, `speaker`, `transcript`, `transcript_by`, `speech_end_s`. Only `file` must be there.

silero finds the pauses, with the server's settings. The ear hears the turn up to each pause that
lasts 150 ms or longer. What both found is kept in the user's cache, by the hash of the file.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turn_taking.end_judge import COUNTED_MS
from benchmarks.turn_taking.end_sound import HEARD_MS, sound_of
from duplex.audio.files import read_sound
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.turns.events import PauseStarted, SpeechResumed, SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroStream, SileroVad, TelephoneBass
from engine.ear.whisper import WhisperEar

TAIL_SAMPLES = 2 * SAMPLE_RATE
HEARING = 2  # raise it when what is kept changes
_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause as the server meets it.

    ``silence_ms`` is None at the end of the turn; ``lag_ms`` is then how far behind the true end
    of speech the detector put the pause's start. ``speech_ms`` is how long the turn is,
    ``phrase_ms`` how long since the pause before, ``pauses_ms`` the pauses before.
    """

    words: str
    silence_ms: float | None
    lag_ms: float | None
    speech_ms: float
    phrase_ms: float
    pauses_ms: tuple[float, ...]
    sound: tuple[float, ...]
    completeness: float | None = None


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
    """What hears here. ``smart_turn``: its completeness is asked too."""

    vad: SileroVad
    ear: WhisperEar
    ear_name: str
    smart_turn: Any = None


def manifest(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder's manifest.

    Raises:
        ValueError: a line is no JSON object with a ``file``.
    """
    rows = []
    for number, line in enumerate((folder / "manifest.jsonl").read_text("utf-8").splitlines(), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("file"), str):
                raise ValueError(f"{folder}/manifest.jsonl, line {number}: no object with a file")
            rows.append(row)
    return rows


def cache_dir() -> Path:
    """Where what was heard is kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "duplex-turn-taking"


def clips(folder: Path, listener: Listener, cache: Path) -> Iterator[Clip]:
    """Every recording of a folder, in the manifest's order."""
    cache.mkdir(parents=True, exist_ok=True)
    for row in manifest(folder):
        path = folder / row["file"]
        key = f"{HEARING} {listener.ear_name} {listener.smart_turn is not None}"
        key += f" {row.get('speech_end_s')}"
        name = hashlib.sha256(key.encode() + path.read_bytes()).hexdigest()
        kept = cache / f"{name}.json"
        if kept.is_file():
            found = json.loads(kept.read_text("utf-8"))
        else:
            found = heard(path, row.get("speech_end_s"), listener)
            written = kept.with_suffix(f".{os.getpid()}")
            written.write_text(json.dumps(found), "utf-8")
            written.replace(kept)
        pauses = (
            Pause(**{**p, "sound": tuple(p["sound"]), "pauses_ms": tuple(p["pauses_ms"])})
            for p in found["pauses"]
        )
        source = row.get("source")
        yield Clip(
            row["file"],
            str(row.get("kind") or "unknown"),
            str(row.get("language") or "unknown"),
            str(row.get("speaker") or row["file"]),
            str(source.get("repository", "")) if isinstance(source, dict) else str(source or ""),
            found["turns"],
            found["words"],
            tuple(pauses),
        )


def heard(path: Path, speech_end_s: float | None, listener: Listener) -> dict[str, Any]:
    """What the server finds in a recording."""
    samples, rate = read_sound(path)
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
    where the turn and the phrase before it began, in samples."""

    at: int
    known: int
    resumed: int | None
    began: int
    phrase: int


def listen(
    samples: Samples, end: int | None, listener: Listener, bass: TelephoneBass | None
) -> tuple[int, list[Pause]]:
    """How many times speech is found in a recording if no pause ends a turn, 0 or 1, and its
    pauses. ``end``: the true end of speech, where it is known; pauses behind it are of no turn."""
    turns, found = silences(samples, listener.vad.open(), bass)
    if end is not None:  # what sounds after the end of speech is no speech
        inner = [s for s in found if s.resumed is not None and s.at < end - SAMPLE_RATE // 20]
        found = inner + [replace(s, resumed=None) for s in found[len(inner) :][:1]]
    pauses: list[Pause] = []
    before: list[float] = []
    for silence in found:
        pauses.append(known_at(silence, samples, end, tuple(before), listener))
        if silence.resumed is not None:
            before.append((silence.resumed - silence.at) / _MS)
    return turns, pauses


def silences(
    samples: Samples, stream: SileroStream, bass: TelephoneBass | None
) -> tuple[int, list[Silence]]:
    """How many times speech begins, and the silences that are long enough to count."""
    detector = SpeechDetector(DetectorConfig(pause_ms=32))
    began = phrase = turns = 0
    paused: tuple[int, int] | None = None  # where, and where the server knew
    found: list[Silence] = []
    for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        frame = samples[start : start + FRAME_SAMPLES]
        for event in detector.feed(stream.feed(bass.feed(frame) if bass else frame)):
            match event:
                case SpeechStarted():
                    began, phrase, turns = event.from_sample, event.at_sample, turns + 1
                case PauseStarted(at):
                    paused = at, start + FRAME_SAMPLES
                case SpeechResumed(at) if paused:
                    if at - paused[0] >= COUNTED_MS * _MS:
                        found.append(Silence(*paused, at, began, phrase))
                        phrase = at
                    paused = None
    if paused:
        found.append(Silence(*paused, None, began, phrase))
    return turns, found


def known_at(
    silence: Silence,
    samples: Samples,
    end: int | None,
    before: tuple[float, ...],
    listener: Listener,
) -> Pause:
    """What the server knows at a pause. ``before``: the pauses before it, in ms."""
    at, began, resumed = silence.at, silence.began, silence.resumed
    complete = None
    if listener.smart_turn is not None:  # pipecat asks after 200 ms of silence
        complete = listener.smart_turn.completeness(samples[began : at + SAMPLE_RATE // 5])
    return Pause(
        listener.ear.transcribe(samples[began : silence.known]),
        None if resumed is None else (resumed - at) / _MS,
        None if resumed is not None else 0.0 if end is None else (at - end) / _MS,
        (at - began) / _MS,
        (at - silence.phrase) / _MS,
        before,
        tuple(round(float(x), 4) for x in sound_of(samples[max(began, at - HEARD_MS * _MS) : at])),
        complete,
    )
