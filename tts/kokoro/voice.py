"""Kokoro-82M on onnxruntime: one network, many speakers, each a table of styles.

A segment is one run of the network, so the first sound of a long clause comes late. It is for
machines that keep ahead of it.
"""

import json
from pathlib import Path
from time import perf_counter

import numpy as np

from tts.clause import Array, RunVoice, Sound
from tts.g2p.g2p import Phonemizer
from tts.g2p.script import Run, Script, read_script
from tts.onnx_graph import open_graph
from tts.text.normalize import DEFAULT_LOCALE
from tts.types import SpokenWord

MODEL_FILE, LETTERS_FILE = "kokoro.onnx", "vocab.json"
DEFAULT_SPEAKER = "af_heart"
MOST_LETTERS = 500  # the network takes 510
SAMPLE_RATE = 24_000
_DURATIONS = (
    "/encoder/Clip_output_0"  # [L + 2], of the silence before, each letter, the silence after
)
_UNIT_SAMPLES = 600
_STYLE = 256
_SILENCE = 0
# A letter is heard so much earlier than the durations say; as in `tts.hibari.voice`.
_LAG_SAMPLES = 1350
_ONSET_SAMPLES, _RELEASE_SAMPLES = 3600, 3600
_CLAUSE = "The weather is fine today,"


class KokoroModel:
    """The network, shared by its speakers and all calls.

    ``directory`` holds `MODEL_FILE`, `LETTERS_FILE` and a ``NAME.bin`` for each speaker.

    Raises:
        ValueError: the model is not as expected.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        phonemizer: Phonemizer,
        *,
        locale: str = DEFAULT_LOCALE,
        threads: int = 1,
    ) -> None:
        letters = (directory / LETTERS_FILE).read_text(encoding="utf-8")
        self._ids: dict[str, int] = json.loads(letters)["vocab"]
        self._session = open_graph(directory / MODEL_FILE, threads=threads, outputs=(_DURATIONS,))
        self._directory = directory
        self._phonemizer = phonemizer
        self._locale = locale

    @property
    def speakers(self) -> list[str]:
        """The names of all speakers."""
        return sorted(path.stem for path in self._directory.glob("*.bin"))

    def speaker(self, name: str) -> "KokoroVoice":
        """The voice of one speaker.

        Raises:
            ValueError: there is none of that name; the message lists them.
        """
        if name not in self.speakers:
            known = ", ".join(self.speakers)
            raise ValueError(f"Kokoro has no speaker {name!r}; it has {known}")
        style = np.fromfile(self._directory / f"{name}.bin", np.float32).reshape(-1, _STYLE)
        return KokoroVoice(self, style)

    def read(self, text: str) -> Script:
        """The letters of ``text``."""
        return read_script(text, self._phonemizer, self._locale, self._ids)

    def run(self, letters: str, style: Array, speed: float) -> tuple[Array, list[int]]:
        """The sound of ``letters``, and the sample at which the silence in front and each letter
        is over. ``style`` [510, 256] has a row for each number of letters."""
        ids = [_SILENCE, *(self._ids[letter] for letter in letters), _SILENCE]
        row = min(len(letters), len(style)) - 1
        audio, durations = self._session.run(
            None,
            {
                "tokens": np.array([ids], np.int64),
                "style": style[row][None],
                "speed": np.array([speed], np.float32),
            },
        )
        bounds = np.cumsum(durations.reshape(-1).astype(np.int64)) * _UNIT_SAMPLES
        return np.asarray(audio, np.float32).reshape(-1), bounds.tolist()


class KokoroVoice(RunVoice):
    """One speaker; see `KokoroModel.speaker`. A segment is one chunk."""

    sample_rate = SAMPLE_RATE
    most_letters = MOST_LETTERS

    def __init__(self, model: KokoroModel, style: Array) -> None:
        self._model = model
        self._style = style

    def _read(self, text: str) -> Script:
        return self._model.read(text)

    def _sound(self, run: Run, speed: float) -> Sound:
        audio, bounds = self._model.run(run.letters, self._style, speed)
        start = max(bounds[0] - _ONSET_SAMPLES, 0)
        stop = min(bounds[run.last_letter] + _RELEASE_SAMPLES, len(audio))
        words = [
            SpokenWord(text, max(bounds[n] - start - _LAG_SAMPLES, 0)) for text, n in run.words
        ]
        pause = round(run.pause_ms / speed) * self.sample_rate // 1000
        return Sound(iter([(audio[start:stop], True)]), words, pause)


def real_time_factor(voice: KokoroVoice) -> float:
    """How long a clause takes to be made, for each second that it lasts: above 1 the voice falls
    behind, and the caller hears gaps. The first run, which warms up, does not count."""
    list(voice.synthesize(_CLAUSE))
    start = perf_counter()
    samples = sum(len(chunk.samples) for chunk in voice.synthesize(_CLAUSE))
    return (perf_counter() - start) * voice.sample_rate / samples
