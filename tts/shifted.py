"""A voice moved by semitones: the same speech, played faster or slower than it was made.

Pitch and formants move together, as with a smaller or a larger speaker. The pace stays, because
the voice speaks slower or faster by the same factor.
"""

import re
from collections.abc import Iterator

from tts.types import MAX_SPEED, MIN_SPEED, AudioChunk, TextUtterance, TextVoice

MAX_SEMITONES = 6  # beyond this it does not sound like a person
_NAME = re.compile(r"(?P<voice>.+)@(?P<semitones>[+-]\d{1,2})")


def parse_shift(name: str) -> tuple[str, int]:
    """Read ``voice@+4`` as that voice, four semitones up; a plain name as itself, unmoved.

    Raises:
        ValueError: the shift is larger than `MAX_SEMITONES`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return name, 0
    semitones = int(match["semitones"])
    if abs(semitones) > MAX_SEMITONES:
        raise ValueError(f"{name!r}: a voice can be moved by {MAX_SEMITONES} semitones at the most")
    return match["voice"], semitones


class ShiftedVoice:
    """``voice``, moved by ``semitones``. It shares the weights of that voice."""

    takes_codes = False

    def __init__(self, voice: TextVoice, semitones: int) -> None:
        self._voice = voice
        self._factor = 2.0 ** (semitones / 12)
        self.language: str | None = getattr(voice, "language", None)
        self.sample_rate = round(voice.sample_rate * self._factor)

    def open(self, speed: float = 1.0) -> TextUtterance:
        """Begin an answer."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`. The samples are unchanged; only their rate differs."""
        slower = min(MAX_SPEED, max(MIN_SPEED, speed / self._factor))
        return self._voice.synthesize(text, slower)
