"""The hibari voice: a small network that learned from Kokoro-82M's voice af_heart (Apache-2.0).

One run of the network says what every frame of a segment sounds like and how long each letter
is; `tts.hibari.vocoder` makes the sound, piece by piece.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tts.clause import RunVoice, Sound
from tts.g2p.g2p import Phonemizer
from tts.g2p.script import Run, Script, read_script
from tts.hibari.vocoder import FRAME_SAMPLES, SAMPLE_RATE, Array, Frames, Vocoder
from tts.onnx_graph import open_graph
from tts.text.normalize import DEFAULT_LOCALE
from tts.types import SpokenWord

LETTERS_FILE = "vocab.json"
MOST_LETTERS = 400  # the longest text that the network is for
_DURATIONS = "/Clip_output_0"  # [L + 2], of the silence before, each letter, the silence after
_UNIT_FRAMES = 2  # of a duration
_SILENCE = 0  # the id of both silences
# A letter is heard so much earlier than the durations say, which are the teacher's; measured, see
# docs/decisions/0097-hibari-is-the-default-voice.md.
_LAG_SAMPLES = 1350
# The sound begins at most so much before the first letter's time and ends after the last's.
_ONSET_FRAMES, _RELEASE_FRAMES = 12, 12
# What is heard first takes little time to make; more than the other at once would hold the thread
# of the voice against other calls.
FIRST_FRAMES, PIECE_FRAMES = 40, 80
_GAIN = 1.11  # as loud as the Piper voice: 0.9 dB, benchmarks/results/voices.json
_LOUDEST = 0.98


class HibariVoice(RunVoice):
    """A loaded voice; one instance serves all calls and threads.

    ``graph`` is the network's file, with `LETTERS_FILE` beside it. ``locale`` is that of
    `normalize`. The noise in the voice is drawn once from ``seed``, so a text always sounds the
    same.

    Raises:
        ValueError: the model is not as expected.
        OSError: a file cannot be read.
    """

    sample_rate = SAMPLE_RATE
    most_letters = MOST_LETTERS

    def __init__(
        self,
        graph: Path,
        phonemizer: Phonemizer,
        *,
        locale: str = DEFAULT_LOCALE,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        letters = graph.with_name(LETTERS_FILE).read_text(encoding="utf-8")
        self._ids: dict[str, int] = json.loads(letters)
        self._session = open_graph(graph, threads=threads, outputs=(_DURATIONS,))
        self._vocoder = Vocoder(seed)
        self._phonemizer = phonemizer
        self._locale = locale

    def _read(self, text: str) -> Script:
        return read_script(text, self._phonemizer, self._locale, self._ids)

    def _sound(self, run: Run, speed: float) -> Sound:
        frames, bounds = self._frames(run.letters, speed)
        start = max(bounds[0] - _ONSET_FRAMES, 0)
        stop = min(bounds[run.last_letter] + _RELEASE_FRAMES, len(frames))
        words = [
            SpokenWord(text, max((bounds[n] - start) * FRAME_SAMPLES - _LAG_SAMPLES, 0))
            for text, n in run.words
        ]
        pause = round(run.pause_ms / speed) * self.sample_rate // 1000
        return Sound(self._pieces(frames, start, stop), words, pause)

    def _frames(self, letters: str, speed: float) -> tuple[Frames, list[int]]:
        """What the network says, and the frame at which the silence in front and each letter is
        over."""
        ids = [_SILENCE, *(self._ids[letter] for letter in letters), _SILENCE]
        *spectra, durations = self._session.run(
            None, {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
        )
        bounds = np.cumsum(durations.astype(np.int64)) * _UNIT_FRAMES
        return Frames(*(part[0] for part in spectra)), bounds.tolist()

    def _pieces(self, frames: Frames, start: int, stop: int) -> Iterator[tuple[Array, bool]]:
        rendering = self._vocoder.open(frames)
        size = FIRST_FRAMES
        while start < stop:
            # The last piece is long enough that silence is not all there is in it.
            end = start + size if stop - start > size + PIECE_FRAMES // 2 else stop
            piece = rendering.render(start, end) * np.float32(_GAIN)
            yield np.clip(piece, -_LOUDEST, _LOUDEST), end == stop
            start, size = end, PIECE_FRAMES
