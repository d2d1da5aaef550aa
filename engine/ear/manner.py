"""How a caller sounds, in one line that a text model can read; nothing, if nothing is out of the
ordinary.

What is measured is compared within the turn, or with the same caller's earlier turns: a person's
pitch, level and pace mean little by themselves, and nothing across callers and microphones.

Pitch is the highest peak of the normalised autocorrelation, corrected for the window (Boersma 1993,
"Accurate short-term analysis of the fundamental frequency"), without its path search: a median over
many frames stands in for that.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
WINDOW = 640  # 40 ms: three periods of the lowest pitch
HOP = 160  # 10 ms
LOWEST_HZ, HIGHEST_HZ = 75.0, 450.0
VOICED = 0.8  # of the normalised autocorrelation
QUIET_DB = 40.0  # below the loudest frame: not speech
LONGEST_S = 12.0  # the end of a longer turn is measured
ENOUGH = 15  # voiced frames without which nothing is said of pitch
END = 0.25  # of the voiced frames: the end of a turn, ...
END_FRAMES = 25  # ... and at most twice so many
RISES, FALLS = 3.0, -6.0  # semitones of the end against the rest; most sentences fall a little
BETWEEN_VOICES = 5.0  # semitones between two people, on either side of a pause
STEADY = 4.0  # semitones between the quartiles of an end that is believed
OCTAVE = 9.5  # semitones from the turn's median
PAUSE = 25  # frames without a voice between two people; within words they are fewer
SWELLS_DB, FADES_DB = 6.0, -12.0  # from the first third to the last; most sentences fade a little
OTHER_PITCH, OTHER_DB, OTHER_PACE = 3.0, 8.0, 1.4  # against the usual; pace: a ratio
FAST, SLOW = 22.0, 8.0  # letters a second: hardly anybody's usual pace
FEWEST_LETTERS = 20  # without which nothing is said of pace
USUAL_TURNS = 8  # that make up the usual


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn. Pitch in semitones over 1 Hz, level in dB; None where too little was voiced."""

    pitch: float | None = None
    end_bend: float = 0.0
    parts_apart: float = 0.0  # of the two sides of the longest pause
    level_db: float | None = None
    swell_db: float = 0.0
    speech_s: float | None = None  # None: the turn is longer than what is measured
    letters_per_s: float | None = None

    def saying(self, text: str) -> "Measured":
        """With the pace of a turn that says ``text``."""
        letters = sum(c.isalnum() for c in text)
        if self.speech_s is None or letters < FEWEST_LETTERS:
            return self
        return replace(self, letters_per_s=letters / self.speech_s)


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """What a text model is told of a turn's sound: a `Sound` that is read as words."""

    text: str
    ids: Sequence[int] = ()


def measure(samples: NDArray[np.float32]) -> Measured:
    """Measure a turn of 16 kHz samples, or the end of a long one."""
    is_whole = len(samples) <= round(LONGEST_S * RATE_HZ)
    samples = samples[-round(LONGEST_S * RATE_HZ) :]
    if len(samples) < 4 * WINDOW:
        return Measured()
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-10)
    speech = np.flatnonzero(level > max(level.max() - QUIET_DB, -60.0))
    if len(speech) < ENOUGH:
        return Measured()
    loud = level[speech]
    third = max(1, len(loud) // 3)
    return Measured(
        level_db=float(np.median(loud)),
        swell_db=float(np.median(loud[-third:]) - np.median(loud[:third])),
        speech_s=len(speech) * HOP / RATE_HZ if is_whole else None,
        **_of_pitch(*_pitches(frames[speech]), speech),
    )


def _pitches(frames: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Of the voiced frames, in semitones over 1 Hz; and which these are."""
    window = np.hanning(WINDOW)
    size = 2 * WINDOW
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, size)) ** 2
    found = np.fft.irfft(power, size)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2, size)
    low, high = round(RATE_HZ / HIGHEST_HZ), round(RATE_HZ / LOWEST_HZ)
    lags = np.arange(low, high + 1)
    normal = (found[:, lags] / (found[:, :1] + 1e-12)) / (own[lags] / own[0])
    # Of almost equal peaks the shortest lag is the period; the others are its multiples.
    highest = normal.max(axis=1, keepdims=True)
    best = np.argmax(normal > 0.9 * highest, axis=1)
    best = np.array([_climb(row, at) for row, at in zip(normal, best, strict=True)], dtype=int)
    voiced = highest[:, 0] > VOICED
    pitches = 12 * np.log2(RATE_HZ / lags[best[voiced]])
    return np.asarray(pitches, dtype=np.float64), np.flatnonzero(voiced)


def _climb(row: NDArray[np.float64], at: int) -> int:
    while at + 1 < len(row) and row[at + 1] > row[at]:
        at += 1
    return int(at)


def _of_pitch(
    pitches: NDArray[np.float64], voiced: NDArray[np.intp], speech: NDArray[np.intp]
) -> dict[str, float]:
    """``speech`` are the frames that are loud enough, ``voiced`` those of them with a pitch."""
    if len(pitches) < ENOUGH:
        return {}
    middle = np.median(pitches)
    sure = np.abs(pitches - middle) < OCTAVE  # else a multiple of the period was taken for it
    pitches, voiced = pitches[sure], voiced[sure]
    if len(pitches) < ENOUGH:
        return {}
    return {
        "pitch": float(np.median(pitches)),
        "end_bend": _bend(pitches),
        "parts_apart": _apart(pitches, speech[voiced]),
    }


def _bend(pitches: NDArray[np.float64]) -> float:
    """How much higher the end is than what was before it; 0 if it goes now up and now down."""
    size = max(5, min(END_FRAMES, round(len(pitches) * END / 2)))
    near, end = np.median(pitches[-2 * size : -size]), np.median(pitches[-size:])
    bend = float(end - np.median(pitches[: -2 * size]))
    goes_on = (end - near) * bend > 0 and _spread(pitches[-size:]) < STEADY
    return bend if goes_on else 0.0


def _spread(pitches: NDArray[np.float64]) -> float:
    """Between the quartiles."""
    low, high = np.percentile(pitches, [25, 75])
    return float(high - low)


def _apart(pitches: NDArray[np.float64], at: NDArray[np.intp]) -> float:
    """How much higher the voice is behind the longest pause than before it; 0 without one."""
    gaps = np.diff(at)[ENOUGH - 1 : -(ENOUGH - 1)]
    if not len(gaps) or gaps.max() < PAUSE:
        return 0.0
    cut = int(np.argmax(gaps)) + ENOUGH
    before, behind = pitches[:cut], pitches[cut:]
    apart = float(np.median(behind) - np.median(before))
    return apart if abs(apart) > (_spread(before) + _spread(behind)) / 2 else 0.0


@dataclass(slots=True)
class Manner:
    """How one caller usually sounds; belongs to one call."""

    _usual: deque[Measured] = field(default_factory=lambda: deque(maxlen=USUAL_TURNS))
    _open: Measured | None = None  # the open turn's, which may go on

    def begin_turn(self) -> None:
        """The turn before is over: it is part of the usual now."""
        if self._open is not None:
            self._usual.append(self._open)
        self._open = None

    def note(self, measured: Measured) -> Note | None:
        """What is out of the ordinary in the open turn, as one line; None if nothing is."""
        self._open = measured
        said = [*_within(measured), *self._against_usual(measured)]
        return Note(f"(How this sounds: {'; '.join(said)}.)") if said else None

    def _against_usual(self, now: Measured) -> list[str]:
        said = []
        pitch = self._usually("pitch")
        if pitch is not None and now.pitch is not None and not _two_voices(now):
            change = now.pitch - pitch
            if abs(change) > BETWEEN_VOICES:
                said.append("the voice sounds like another person's than before")
            elif abs(change) > OTHER_PITCH:
                said.append(f"the voice is {'higher' if change > 0 else 'lower'} than usual")
        level = self._usually("level_db")
        if level is not None and now.level_db is not None and abs(now.level_db - level) > OTHER_DB:
            louder = now.level_db > level
            said.append(f"the voice is {'louder' if louder else 'softer'} than usual")
        pace = self._usually("letters_per_s")
        if pace is not None and now.letters_per_s is not None:
            ratio = now.letters_per_s / pace
            if not 1 / OTHER_PACE < ratio < OTHER_PACE:
                said.append(f"the pace is {'faster' if ratio > 1 else 'slower'} than usual")
        return said

    def _usually(self, name: str) -> float | None:
        values = [value for one in self._usual if (value := getattr(one, name)) is not None]
        return median(values) if values else None


def _two_voices(now: Measured) -> bool:
    return abs(now.parts_apart) > BETWEEN_VOICES


def _within(now: Measured) -> list[str]:
    said = []
    if _two_voices(now):
        said.append("two people speak, one after the other")
    elif not FALLS < now.end_bend < RISES:
        said.append(f"the pitch of the voice {'rises' if now.end_bend > 0 else 'falls'} at the end")
    if not FADES_DB < now.swell_db < SWELLS_DB:
        said.append(f"the voice gets {'louder' if now.swell_db > 0 else 'softer'}")
    if now.letters_per_s is not None and not SLOW < now.letters_per_s < FAST:
        said.append(f"this is spoken {'fast' if now.letters_per_s > FAST else 'slowly'}")
    return said
