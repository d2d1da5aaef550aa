"""Callers' voices for the benchmark of interruptions, all synthetic: Kokoro-82M (28 English
speakers), espeak-ng's variants, and the project's own Piper voice at other pitches.

Each utterance is made once and kept, as int16 at 16 kHz, in a folder named by the caller.
"""

import hashlib
import re
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.turn_taking.events.phrases import HUMS
from duplex.audio.files import read_sound
from duplex.audio.formats import Samples, float_to_int16, int16_to_float
from duplex.audio.resample import resample
from duplex.turns.vad import SAMPLE_RATE, cpu_session
from tts.g2p.g2p import G2P, GOLD_FILE, SILVER_FILE
from tts.g2p.lexicon import Lexicon
from tts.piper.split import split
from tts.piper.voice import PiperVoice

# Voices of the test set are heard nowhere else. kk- is Kokoro, es- espeak-ng, pj- Piper joe at a
# pitch in percent. Kokoro's speakers are of the best quality among them.
KOKORO_TEST = ("af_bella", "af_sky", "am_adam", "am_puck", "bf_emma", "bm_george", "am_michael",
               "bf_lily")  # fmt: skip
KOKORO_TRAIN = ("af_alloy", "af_aoede", "af_heart", "af_jessica", "af_kore", "af_nicole",
                "af_nova", "af_river", "af_sarah", "am_echo", "am_eric", "am_fenrir", "am_liam",
                "am_onyx", "am_santa", "bf_alice", "bf_isabella", "bm_daniel", "bm_fable",
                "bm_lewis")  # fmt: skip
ESPEAK_TEST = ("en-us+f2", "en-gb+m5", "en-gb-scotland+Alicia", "en-us+Andy")
ESPEAK_TRAIN = ("en-us+m1", "en-us+f3", "en-gb+f4", "en-gb+m3", "en-gb-x-rp+Annie", "en-us+Mario",
                "en-us+max", "en-gb+steph", "en-us+linda", "en-029+m7")  # fmt: skip
PIPER_TEST = ("88", "100", "118")

TEST_VOICES = (
    *(f"kk-{name}" for name in KOKORO_TEST),
    *(f"es-{name}" for name in ESPEAK_TEST),
    *(f"pj-{pitch}" for pitch in PIPER_TEST),
)
TRAIN_VOICES = (*(f"kk-{name}" for name in KOKORO_TRAIN), *(f"es-{name}" for name in ESPEAK_TRAIN))


class Voices:
    """Says anything in any of the voices.

    Args:
        models: where `duplex.model_store.ModelStore` keeps piper-joe and g2p-en.
        kokoro: a folder with kokoro.onnx, vocab.json and voices/*.bin; see `sources`.
        cache: where utterances are kept.
    """

    def __init__(self, models: Path, kokoro: Path, cache: Path) -> None:
        self._models, self._kokoro, self._cache = models, kokoro, cache
        cache.mkdir(parents=True, exist_ok=True)

    def say(self, voice: str, text: str, speed: float = 1.0) -> Samples:
        """The words in 16 kHz samples, without silence around them, peak 0.5."""
        key = hashlib.sha1(f"{voice}|{text}|{speed}".encode()).hexdigest()[:16]
        path = self._cache / f"{voice}-{key}.npy"
        if path.exists():
            return int16_to_float(np.load(path))
        maker, _, name = voice.partition("-")
        make = {"kk": self._say_kokoro, "es": self._say_espeak, "pj": self._say_piper}[maker]
        np.save(path, float_to_int16(_trimmed(make(name, text, speed))))
        return int16_to_float(np.load(path))  # the same the first time as ever after

    def _say_kokoro(self, name: str, text: str, speed: float) -> Samples:
        session, vocabulary = self._kokoro_network
        tokens = [vocabulary[c] for c in self._phones(text) if c in vocabulary]
        style = np.fromfile(self._kokoro / "voices" / f"{name}.bin", np.float32).reshape(-1, 256)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[len(tokens) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        audio = np.asarray(session.run(None, inputs)[0], np.float32).ravel()
        return resample(audio, 24_000, SAMPLE_RATE)

    def _phones(self, text: str) -> str:
        if hum := HUMS.get(text.lower()):
            return f"{hum}."
        phones = []
        for piece in re.findall(r"[A-Za-z']+|[,.?!]", text.replace("mm-hmm", "mm")):
            if piece in ",.?!":
                phones.append(piece)
                continue
            found = HUMS.get(piece.lower()) or self._lexicon.lookup(piece)
            if found is None:
                raise ValueError(f"no pronunciation of {piece!r} in {text!r}")
            phones.append(f" {found}")
        return "".join(phones).strip()

    def _say_espeak(self, name: str, text: str, speed: float) -> Samples:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "said.wav")
            command = ["espeak-ng", "-v", name, "-s", str(int(165 * speed)), "-w", str(path), text]
            subprocess.run(command, check=True, capture_output=True)
            return resample(*read_sound(path), SAMPLE_RATE)

    def _say_piper(self, pitch: str, text: str, speed: float) -> Samples:
        chunks = [chunk.samples for chunk in self._piper.synthesize(text)]
        # Played at another rate: pitch, formants and speed change together, as a smaller or
        # larger speaker would have them.
        rate = int(self._piper.sample_rate * int(pitch) / 100 * speed) // 50 * 50
        return resample(np.concatenate(chunks), rate, SAMPLE_RATE)

    @cached_property
    def _kokoro_network(self):
        import json

        vocabulary = json.loads((self._kokoro / "vocab.json").read_text(encoding="utf-8"))
        return cpu_session(self._kokoro / "kokoro.onnx"), vocabulary["vocab"]

    @cached_property
    def _lexicon(self) -> Lexicon:
        directory = self._models / "models" / "g2p-en"
        return Lexicon(directory / GOLD_FILE, directory / SILVER_FILE)

    @cached_property
    def _piper(self) -> PiperVoice:
        graphs = Path(tempfile.mkdtemp())
        split(self._models / "models" / "piper-joe" / "en_US-joe-medium.onnx", graphs)
        return PiperVoice(graphs, G2P(self._models / "models" / "g2p-en"))


def _trimmed(samples: Samples) -> Samples:
    """From the first to the last 10 ms louder than -35 dB of the peak, peak 0.5."""
    peak = float(np.abs(samples).max())
    if peak == 0:
        raise ValueError("nothing was said")
    width = SAMPLE_RATE // 100
    power = np.convolve(samples.astype(np.float64) ** 2, np.full(width, 1 / width), "same")
    loud = np.flatnonzero(power > (0.0178 * peak) ** 2)
    return (samples[loud[0] : loud[-1] + 1] * (0.5 / peak)).astype(np.float32)


def pace(voice: str, text: str) -> float:
    """How fast this voice says this: 0.9, 1.0, 1.1 or 1.2 of its own speed, always the same."""
    return 0.9 + 0.1 * (hashlib.sha1(f"{voice}{text}".encode()).digest()[0] % 4)


def is_said(split: str, voice: str, text: str) -> bool:
    """Whether this is in the corpus: in the train set Kokoro's voices say every other text only,
    since each utterance takes half a second to make."""
    if split == "test" or not voice.startswith("kk-"):
        return True
    return hashlib.sha1(f"{text}/{voice}".encode()).digest()[0] % 2 == 0
