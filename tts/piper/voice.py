"""The Piper voice on onnxruntime, streaming within a segment.

Encoder, duration predictor and flow are VITS (Kim et al. 2021, arXiv:2106.06103, section 2); the
graphs come from `tts.piper.split`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from tts.clause import Sound, silent, spoken
from tts.g2p.g2p import PUNCTUATION, Phonemizer
from tts.piper import split
from tts.text.normalize import DEFAULT_LOCALE, normalize, prepare
from tts.text.pauses import pause_ms
from tts.types import AudioChunk, SpokenWord, TextUtterance, check_speed

Array = NDArray[np.float32]

FRAME_SAMPLES = 256
# The first chunk is as short as covers the making of the next on a busy core; longer chunks than
# the largest hold the device against other calls (docs/decisions/0024-first-sound-of-a-segment.md).
FIRST_FRAMES = 16
MAX_FRAMES = 64
# Frames on either side that change a frame's output. Flow: 4 couplings of 4 convolutions that
# reach 2 frames. Vocoder: measured.
FLOW_REACH = 32
VOCODER_REACH = 10

_PAD, _START, _END = "_", "^", "$"
# Straight after the start symbol the voice swallows plosives: "Python" is heard as "hython".
_BREATH = (" ", _PAD)
_ONSET_FRAMES = 3  # a sound may begin this much before its phoneme does
_EDGE_FRAMES = 2


@dataclass(frozen=True, slots=True)
class _Script:
    """A segment as phoneme ids. Word ``i`` is over after the first ``ends[i]`` ids."""

    words: tuple[str, ...]
    ids: tuple[int, ...]
    ends: tuple[int, ...]
    pause_ms: int


def espeak_voice_in(config_file: Path) -> str:
    """The voice of espeak-ng that says words as a Piper voice was taught to, from its JSON; "" if
    that does not tell."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    return str(config.get("espeak", {}).get("voice", ""))


class PiperVoice:
    """A loaded voice; one instance serves all calls and threads.

    The synthesis noise is drawn anew from ``seed`` for each segment, so a text always sounds the
    same. ``locale`` and ``language`` are those of `normalize`. ``spinning`` lets the threads of
    onnxruntime wait actively between operators; it helps only with more than one thread on an idle
    machine.
    """

    def __init__(
        self,
        voice_dir: Path,
        phonemizer: Phonemizer,
        *,
        locale: str = DEFAULT_LOCALE,
        language: str = "en",
        threads: int = 1,
        spinning: bool = False,
        seed: int = 0,
    ) -> None:
        config = json.loads((voice_dir / split.CONFIG_FILE).read_text(encoding="utf-8"))
        self.sample_rate: int = config["audio"]["sample_rate"]
        self._inference: dict[str, float] = config["inference"]
        self._symbols: dict[str, list[int]] = config["phoneme_id_map"]
        self._lead = [i for c in (_START, _PAD, *_BREATH) for i in self._symbols[c]]
        self._phonemizer = phonemizer
        self._locale = locale
        self.language = language
        prepare(self.language)
        self._seed = seed
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        self._text, self._flow, self._vocoder = (
            onnxruntime.InferenceSession(
                str(voice_dir / name), options, providers=["CPUExecutionProvider"]
            )
            for name in (split.TEXT_FILE, split.FLOW_FILE, split.VOCODER_FILE)
        )

    takes_codes = False

    def open(self, speed: float = 1.0) -> TextUtterance:
        """Begin an answer."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`. The first chunk is `FIRST_FRAMES` long, less the silence
        before the first sound; the next ones double up to `MAX_FRAMES`.

        Raises:
            ValueError: ``speed`` is outside 0.25 to 4.
        """
        check_speed(speed)
        return self._speak(text, speed)

    def _speak(self, text: str, speed: float) -> Iterator[AudioChunk]:
        script = self._script(text)
        if not script.ids:
            yield silent(script.words)
            return
        yield from spoken(iter([self._sound(script, speed)]), self.sample_rate)

    def _sound(self, script: _Script, speed: float) -> Sound:
        prior, durations = self._prior(script.ids, speed)
        start = max(int(durations[: len(self._lead)].sum()) - _ONSET_FRAMES, 0)
        heard = (np.concatenate([[0], np.cumsum(durations)]) - start) * FRAME_SAMPLES
        words = [
            SpokenWord(word, max(int(heard[end]), 0))
            for word, end in zip(script.words, script.ends, strict=True)
        ]
        pause = round(script.pause_ms / speed) * self.sample_rate // 1000
        return Sound(self._render(prior, start), words, pause)

    def _script(self, text: str) -> _Script:
        tokens = normalize(text, self._locale, self.language)
        ids = list(self._lead)
        ends = []
        end, silent = 0, True
        for sounds in self._phonemizer([token.spoken for token in tokens]):
            if sounds and not silent and sounds[0] not in PUNCTUATION:
                ids += [*self._symbols[" "], *self._symbols[_PAD]]
            for symbol in sounds:
                if symbol in self._symbols:
                    ids += [*self._symbols[symbol], *self._symbols[_PAD]]
                    if symbol not in PUNCTUATION:  # a word is over before the pause after it
                        end, silent = len(ids), False
            ends.append(end)
        words = tuple(token.text for token in tokens)
        if silent:
            return _Script(words, (), (0,) * len(words), 0)
        ids += self._symbols[_END]
        return _Script(words, tuple(ids), tuple(ends), pause_ms(text))

    def _prior(self, ids: tuple[int, ...], speed: float) -> tuple[Array, NDArray[np.int64]]:
        """Phoneme ids [T] to a sample of the prior [1, 192, F] and frames per phoneme [T]."""
        noise = np.random.default_rng(self._seed)
        settings = self._inference
        scales = [settings["noise_scale"], settings["length_scale"] / speed, settings["noise_w"]]
        mean, log_deviation, frames = self._text.run(
            [split.PRIOR_MEAN, split.PRIOR_LOG_DEVIATION, split.DURATIONS],
            {
                split.PHONEMES: np.array([ids], np.int64),
                split.LENGTHS: np.array([len(ids)], np.int64),
                split.SCALES: np.array(scales, np.float32),
                split.DURATION_NOISE: noise.standard_normal((1, 2, len(ids)), np.float32),
            },
        )
        durations = frames[0, 0].astype(np.int64)
        # Start and end symbols are silence of random length.
        durations[[0, -1]] = np.minimum(durations[[0, -1]], _EDGE_FRAMES)
        mean = np.repeat(mean, durations, axis=2)
        deviation = np.exp(np.repeat(log_deviation, durations, axis=2))
        sample = noise.standard_normal(mean.shape, np.float32) * np.float32(scales[0])
        return mean + sample * deviation, durations

    def _render(self, prior: Array, start: int = 0) -> Iterator[tuple[Array, bool]]:
        """Render a prior sample [1, 192, F] from frame ``start`` on.

        Yields pieces of audio [256 n], each with whether it is the last. Joined they equal one run
        over everything, because each piece is made with the frames that reach into it. The flow
        runs on the head of the prior first, then once on all the rest.
        """
        total = prior.shape[2]
        known = start + FIRST_FRAMES + VOCODER_REACH
        if known + FLOW_REACH >= total:
            known = total
        latent = self._latent(prior[:, :, : known + FLOW_REACH])[:, :, :known]
        size = FIRST_FRAMES
        while start < total:
            stop = min(start + size, total)
            if stop + VOCODER_REACH > latent.shape[2] and known < total:
                rest = self._latent(prior[:, :, max(known - FLOW_REACH, 0) :])
                latent = np.concatenate([latent, rest[:, :, min(known, FLOW_REACH) :]], axis=2)
                known = total
            left = max(start - VOCODER_REACH, 0)
            audio = self._audio(latent[:, :, left : stop + VOCODER_REACH])
            first = (start - left) * FRAME_SAMPLES
            yield audio[first : first + (stop - start) * FRAME_SAMPLES], stop == total
            start, size = stop, min(2 * size, MAX_FRAMES)

    def _latent(self, prior: Array) -> Array:
        mask = np.ones((1, 1, prior.shape[2]), np.float32)
        latent: Array
        (latent,) = self._flow.run(
            [split.LATENT], {split.PRIOR_SAMPLE: prior, split.FRAME_MASK: mask}
        )
        return latent

    def _audio(self, latent: Array) -> Array:
        (audio,) = self._vocoder.run([split.AUDIO], {split.LATENT: latent})
        samples: Array = audio.reshape(-1)
        return samples
