"""Whisper through CTranslate2: the exact pass over trimmed audio."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.ear.evidence import SpeechMeter, voiced_ms
from engine.ear.guards import (
    Decoded,
    collapse_repeats,
    is_beyond_doubt,
    is_loop,
    is_speech,
    max_tokens,
    split_points,
)
from engine.ear.interface import Heard
from engine.ear.passage import Passage, TimedWord, Wish, timed, words_of_tokens
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
CLEAR_LANGUAGE_PROBABILITY = 0.6
_MAX_PROMPT_TOKENS = 223  # half of the text context, less one: openai/whisper, decoding.py
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


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
        language: str | None = "en",
        compute_type: str = "int8",
        meter: SpeechMeter | None = None,
    ) -> None:
        """Load from a directory with CTranslate2's model.bin and a tokenizer.json. ``language`` is
        that of callers who choose none; None: it is heard. ``meter`` says what is speech where the
        words are in doubt.

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
        known = self._tokenizer.get_vocab() if self._model.is_multilingual else ["<|en|>"]
        self.languages = frozenset(m[1] for token in known if (m := _LANGUAGE.fullmatch(token)))
        if language is not None and language not in self.languages:
            known_here = "English only" if len(self.languages) == 1 else "no such language"
            raise ValueError(f"{model_dir.name} hears {known_here}, not {language!r}")
        self.language = language if self._model.is_multilingual else "en"
        silence = np.full((self._model.n_mels, CLIP_SAMPLES // HOP_SAMPLES), -10.0, np.float32)
        self._silence = self._encode(normalize(silence, SILENCE_LOG_MEL_MAXIMUM))

    @property
    def translates(self) -> bool:
        """See `engine.ear.passage.TranslatingEar`."""
        return bool(self._model.is_multilingual)

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """The words in ``pcm`` (16 kHz mono in [-1, 1], any length); "" without speech.

        The work is one encoder pass and one greedy decode for each 30 s of audio. Give it audio
        trimmed to the speech: silence costs as much as speech and invites invention.
        """
        return self.hear(pcm, self.language, "en").text

    def hear(self, pcm: NDArray[np.float32], language: str | None, otherwise: str) -> Heard:
        """As `transcribe`, in ``language``; None: in that of the first 30 s, or in ``otherwise``
        where it is not clear."""
        cuts = split_points(pcm, SAMPLE_RATE_HZ, CLIP_SAMPLES, EARLIEST_SPLIT_SAMPLES)
        texts: list[str] = []
        for piece in np.split(pcm, cuts):
            decoded = self.decode(piece, language, otherwise)
            language = decoded.language
            texts.append(self._believed(decoded, piece))
        return Heard(" ".join(text for text in texts if text), language or otherwise)

    def decode(
        self, pcm: NDArray[np.float32], language: str | None = "en", otherwise: str = "en"
    ) -> Decoded:
        """The raw decode of up to 30 s, before any guard. ``language`` as in `hear`."""
        return self._decode(self._states(pcm), len(pcm) / SAMPLE_RATE_HZ, language, otherwise)

    def hear_passage(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        """See `engine.ear.passage.TimingEar`."""
        states, seconds = self._states(pcm), len(pcm) / SAMPLE_RATE_HZ
        before = self._tokenizer.encode(" " + wish.prompt.strip(), add_special_tokens=False).ids
        decoded = self._decode(
            states,
            seconds,
            wish.language,
            wish.otherwise,
            before if wish.prompt.strip() else (),
            task="translate" if wish.in_english else "transcribe",
        )
        tokens: tuple[int, ...] = ()
        if self._was_heard(decoded, pcm):
            is_looped = is_loop(decoded)
            tokens = collapse_repeats(decoded.tokens) if is_looped else decoded.tokens
        return Passage(
            self._text(tokens),
            decoded.language,
            self._times(states, tokens, decoded.language, seconds) if wish.with_words else (),
            tokens,
            decoded.mean_log_probability,
            decoded.no_speech_probability,
        )

    def _times(
        self, states: Float32, tokens: tuple[int, ...], language: str, seconds: float
    ) -> tuple[TimedWord, ...]:
        if not tokens:
            return ()
        frames = max(FRAMES_PER_POSITION, round(seconds * SAMPLE_RATE_HZ / HOP_SAMPLES))
        beginning = self._prompt(language)[:-1]  # the model adds that there are no timestamps
        (aligned,) = self._model.align(_storage(states), beginning, [list(tokens)], frames)
        decode = self._tokenizer.decode
        words = words_of_tokens(tokens, lambda some: str(decode(list(some))), language)
        return timed(words, aligned.alignments, seconds)

    def _states(self, pcm: NDArray[np.float32]) -> Float32:
        """The encoder's states of ``pcm``, those of silence behind them."""
        padded = max(len(pcm) + PAD_SAMPLES, MIN_PADDED_SAMPLES)
        padded = min(-(-padded // POSITION_SAMPLES) * POSITION_SAMPLES, CLIP_SAMPLES)
        audio: Float32 = np.zeros(padded, np.float32)
        audio[: len(pcm)] = pcm
        states = self._encode(normalize(log_mel(audio, self._model.n_mels)))
        return np.concatenate([states, self._silence[:, states.shape[1] :]], axis=1)

    def _decode(
        self,
        states: Float32,
        seconds: float,
        language: str | None,
        otherwise: str,
        before: Sequence[int] = (),
        *,
        task: str = "transcribe",
    ) -> Decoded:
        language = language or self._language_of(states) or otherwise
        limit = max_tokens(seconds)
        prompt = self._prompt(language, task)
        if before:
            prompt = [self._token("<|startofprev|>"), *before[-_MAX_PROMPT_TOKENS:], *prompt]
        (result,) = self._model.generate(
            _storage(states),
            [prompt],
            beam_size=1,
            # CTranslate2 takes half of it, or what the prompt leaves, as Whisper of its context.
            max_length=max(2 * limit, limit + len(prompt)),
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
            language=language,
        )

    def _language_of(self, states: Float32) -> str | None:
        """The language of encoder ``states``, None if it is not clear."""
        if not self._model.is_multilingual:
            return "en"
        ((best, *_),) = self._model.detect_language(_storage(states))
        token, probability = best
        return token.strip("<|>") if probability >= CLEAR_LANGUAGE_PROBABILITY else None

    def _prompt(self, language: str, task: str = "transcribe") -> list[int]:
        """What comes before the text; the task is Whisper's name for it."""
        if not self._model.is_multilingual:
            return [self._token("<|startoftranscript|>"), self._token("<|notimestamps|>")]
        names = ("startoftranscript", language, task, "notimestamps")
        return [self._token(f"<|{name}|>") for name in names]

    def _believed(self, decoded: Decoded, pcm: NDArray[np.float32]) -> str:
        """The text of ``pcm`` after all guards."""
        if not self._was_heard(decoded, pcm):
            return ""
        if is_loop(decoded):
            return self._text(collapse_repeats(decoded.tokens))
        return decoded.text

    def _was_heard(self, decoded: Decoded, pcm: NDArray[np.float32]) -> bool:
        """Whether there are words in ``pcm``. The meter takes time, so only doubt asks it."""
        if is_beyond_doubt(decoded):
            return True
        voiced = None if self._meter is None else voiced_ms(self._meter(pcm))
        return is_speech(decoded, len(pcm) / SAMPLE_RATE_HZ, voiced)

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
