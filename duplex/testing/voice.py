"""A scripted voice: a tone that lasts as long as its text is long."""

import re
from collections.abc import Iterator

import numpy as np

from tts.types import AudioChunk, SpokenWord, TextUtterance

CHARACTER_MS = 60
CHUNK_MS = 200


class ScriptedVoice:
    """Speaks ``CHARACTER_MS`` of a 220 Hz tone for each character, in chunks of ``CHUNK_MS``.

    Like a real voice it has nothing to say where there are no letters or digits.
    """

    sample_rate = 22_050
    takes_codes = False

    def open(self, speed: float = 1.0) -> TextUtterance:
        """See `tts.types.Voice`."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`."""
        per_character = round(self.sample_rate * CHARACTER_MS / 1000 / speed)
        chunk = self.sample_rate * CHUNK_MS // 1000
        words = []
        end = 0
        for word in re.findall(r"\s*\S+\s*|\s+", text):
            end += len(word) * per_character
            words.append(SpokenWord(word, end))
        if not any(c.isalnum() for c in text):
            silent = tuple(SpokenWord(word.text, 0) for word in words)
            yield AudioChunk(np.zeros(0, np.float32), silent)
            return
        phase = 2 * np.pi * 220 / self.sample_rate
        for start in range(0, end, chunk):
            stop = min(end, start + chunk)
            tone = (0.3 * np.sin(phase * np.arange(start, stop))).astype(np.float32)
            yield AudioChunk(tone, tuple(w for w in words if start < w.end_sample <= stop))
