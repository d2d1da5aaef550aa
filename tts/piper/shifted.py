"""A second voice out of a first: the same speech, played faster or slower than it was made.

Pitch and formants move together, as with a smaller or a larger speaker; the pace stays, because
the voice is asked to speak slower or faster by as much.
"""

import re
from collections.abc import Iterator

from tts.types import MAX_SPEED, MIN_SPEED, AudioChunk, TextUtterance, TextVoice

MAX_SEMITONES = 6  # beyond it nobody takes it for a person
_NAME = re.compile(r"(?P<voice>.+)@(?P<semitones>[+-]\d{1,2})")


def parse_shift(name: str) -> tuple[str, int]:
    """Read ``voice@+4`` as that voice, four semitones up; a plain name as itself, unmoved.

    Raises:
        ValueError: it is moved by more than `MAX_SEMITONES`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return name, 0
    semitones = int(match["semitones"])
    if abs(semitones) > MAX_SEMITONES:
        raise ValueError(f"{name!r}: a voice can be moved by {MAX_SEMITONES} semitones at the most")
    return match["voice"], semitones


class ShiftedVoice:
    """``voice``, moved by ``semitones``. Holds nothing else: the weights are the voice's own."""

    takes_codes = False

    def __init__(self, voice: TextVoice, semitones: int) -> None:
        self._voice = voice
        self._factor = 2.0 ** (semitones / 12)
        self.sample_rate = round(voice.sample_rate * self._factor)

    def open(self, speed: float = 1.0) -> TextUtterance:
        """Begin an answer."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`. Samples stand as they are: only their rate is another."""
        slower = min(MAX_SPEED, max(MIN_SPEED, speed / self._factor))
        return self._voice.synthesize(text, slower)
