"""Whisper through CTranslate2: the exact pass over trimmed audio."""

from pathlib import Path
from typing import Any

import ctranslate2  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.ear.evidence import SpeechMeter, was_spoken
from engine.ear.guards import (
    Decoded,
    collapse_repeats,
    is_loop,
    is_speech,
    max_tokens,
    split_points,
)
from engine.features import HOP_SAMPLES, SAMPLE_RATE_HZ, Float32, log_mel, normalize

CLIP_SAMPLES = 30 * SAMPLE_RATE_HZ
FRAMES_PER_POSITION = 2  # stride of the encoder's second convolution
POSITION_SAMPLES = FRAMES_PER_POSITION * HOP_SAMPLES
PAD_SAMPLES = 3 * SAMPLE_RATE_HZ // 10
# With fewer states of the audio's own, single words come out doubled or not at all
# (docs/decisions/0020-guards-of-the-ear.md).
MIN_PADDED_SAMPLES = 2 * SAMPLE_RATE_HZ
EARLIEST_SPLIT_SAMPLES = 20 * SAMPLE_RATE_HZ
# Log-mel maximum of the window whose states stand for silence: between the maximum of speech
# (0.5 to 2) and not so low that the window's own floor shows.
SILENCE_LOG_MEL_MAXIMUM = 1.12


class WhisperEar:
    """A loaded recogniser, shared by all calls. It holds weights and no state of a call.

    Only the audio that was heard is encoded, not a 30 s window. The decoder was trained on whole
    windows and loops without them, so the encoder states of an all-silence window, computed once
    here, stand in for the positions after the audio (the *silence tail*).
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        threads: int = 1,
        language: str = "en",
        compute_type: str = "int8",
        meter: SpeechMeter | None = None,
    ) -> None:
        """Load from a directory with CTranslate2's model.bin and a tokenizer.json. ``meter`` says
        what is speech where the words are in doubt.

        Raises:
            ValueError: the directory lacks a file, or the model does not know ``language``.
        """
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (model_dir / name).is_file():
                raise ValueError(f"{model_dir} holds no Whisper for CTranslate2: no {name}")
        self._model: Any = ctranslate2.models.Whisper(
            str(model_dir), device="cpu", compute_type=compute_type, intra_threads=threads
        )
        self._meter = meter
        self._tokenizer: Any = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        self._end = self._token("<|endoftext|>")
        self._prompt = [self._token("<|startoftranscript|>")]
        if self._model.is_multilingual:
            self._prompt += [self._token(f"<|{language}|>"), self._token("<|transcribe|>")]
        elif language != "en":
            raise ValueError(f"{model_dir.name} hears English only, not {language!r}")
        self._prompt.append(self._token("<|notimestamps|>"))
        silence = np.full((self._model.n_mels, CLIP_SAMPLES // HOP_SAMPLES), -10.0, np.float32)
        self._silence = self._encode(normalize(silence, SILENCE_LOG_MEL_MAXIMUM))

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """The words in ``pcm`` (16 kHz mono in [-1, 1], any length); "" without speech.

        The work is one encoder pass and one greedy decode for each 30 s of audio. Give it audio
        trimmed to the speech: silence costs as much as speech and invites invention.
        """
        cuts = split_points(pcm, SAMPLE_RATE_HZ, CLIP_SAMPLES, EARLIEST_SPLIT_SAMPLES)
        texts = (self._transcribe_window(piece) for piece in np.split(pcm, cuts))
        return " ".join(text for text in texts if text)

    def decode(self, pcm: NDArray[np.float32]) -> Decoded:
        """The raw decode of up to 30 s, before any guard."""
        padded = max(len(pcm) + PAD_SAMPLES, MIN_PADDED_SAMPLES)
        padded = min(-(-padded // POSITION_SAMPLES) * POSITION_SAMPLES, CLIP_SAMPLES)
        audio: Float32 = np.zeros(padded, np.float32)
        audio[: len(pcm)] = pcm
        states = self._encode(normalize(log_mel(audio, self._model.n_mels)))
        states = np.concatenate([states, self._silence[:, states.shape[1] :]], axis=1)
        limit = max_tokens(len(pcm) / SAMPLE_RATE_HZ)
        (result,) = self._model.generate(
            _storage(states),
            [self._prompt],
            beam_size=1,
            max_length=2 * limit,  # CTranslate2 takes half of it, as Whisper does of its context
            suppress_blank=True,
            suppress_tokens=[-1],  # the model's own list of non-speech symbols
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = tuple(result.sequences_ids[0])
        text = tuple(token for token in tokens if token < self._end)
        return Decoded(
            tokens=text,
            text=self._text(text),
            mean_log_probability=result.scores[0],
            no_speech_probability=result.no_speech_prob,
            ended=len(tokens) < limit,
        )

    def _transcribe_window(self, pcm: NDArray[np.float32]) -> str:
        decoded = self.decode(pcm)
        if not is_speech(decoded) and not (
            decoded.tokens and self._meter is not None and was_spoken(self._meter(pcm))
        ):
            return ""
        if is_loop(decoded):
            return self._text(collapse_repeats(decoded.tokens))
        return decoded.text

    def _encode(self, mel: Float32) -> Float32:
        """Encoder states ``[1, frames // 2, D]`` of normalised ``mel`` ``[bins, frames]``."""
        return np.array(self._model.encode(_storage(mel[None])))

    def _token(self, name: str) -> int:
        number: int | None = self._tokenizer.token_to_id(name)
        if number is None:
            raise ValueError(f"the model's tokenizer has no {name}")
        return number

    def _text(self, tokens: tuple[int, ...]) -> str:
        text: str = self._tokenizer.decode(list(tokens))
        return text.strip()


def _storage(array: Float32) -> Any:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array, np.float32))
