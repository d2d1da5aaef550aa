"""A voice that renders the audio codes of a brain that makes its own speech."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tts.token2wav.checkpoint import load_flow, load_hift
from tts.token2wav.prompt import VoicePrompt
from tts.token2wav.stream import CHUNK_CODES, SAMPLE_RATE, SAMPLES_PER_CODE, Token2Wav
from tts.token2wav.together import SharedSteps, Utterance
from tts.types import AudioChunk, SpokenWord

_TOGETHER_ON_CUDA = 8  # a chunk is bound by launches there; on a CPU it costs what its rows cost
# A word with the space around it; each Chinese, Japanese or Korean letter is a word of its own,
# because nothing else separates them.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\s*(?:[{_IDEOGRAPH}]|[^\s{_IDEOGRAPH}]+)|\s+")


class TokenVoice:
    """A loaded token voice, shared by all calls. It holds weights and the prompt.

    The constructor runs the model over the whole prompt; `open` costs nothing after that.
    """

    sample_rate = SAMPLE_RATE
    takes_codes = True

    def __init__(
        self, model: Token2Wav, prompt: VoicePrompt, *, together: int | None = None
    ) -> None:
        """``together``: utterances that a step may render; None as suits the device."""
        self._primed = model.open(prompt)  # the prompt's pass, once for all utterances
        # On the default stream a second of speech would stand before the brain's next steps.
        lane: torch.cuda.Stream | None = None
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)  # the weights and the prompt are there
            lane = torch.cuda.Stream(model.device)
        most = together or (1 if lane is None else _TOGETHER_ON_CUDA)
        self._steps = SharedSteps(model, most, lane)

    @classmethod
    def load(
        cls,
        directory: Path,
        prompt: VoicePrompt,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk_codes: int = CHUNK_CODES,
    ) -> "TokenVoice":
        """The voice of a checkpoint's ``token2wav`` directory. ``dtype`` is the flow's; the
        vocoder is fp32 always, because it sums phases.

        Raises:
            ValueError: a file or the prompt needs something that is not implemented.
            OSError: a file cannot be read.
        """
        flow, hift = load_flow(directory).to(device, dtype), load_hift(directory).to(device)
        return cls(Token2Wav(flow, hift, chunk_codes=chunk_codes), prompt)

    def open(self, speed: float = 1.0) -> "TokenStream":
        """Begin an utterance. ``speed`` has no effect: the codes decide it."""
        return TokenStream(self._steps, Utterance(self._primed))


@dataclass(slots=True)
class _Piece:
    """Text that is not sent yet, and its end in samples."""

    text: str
    end_sample: int


class TokenStream:
    """One utterance: codes with their text in, audio with its words out.

    A word ends where the codes that came with its last letter end. Text may run ahead of its
    speech, because every group of codes has exactly one text token.
    """

    def __init__(self, steps: SharedSteps, utterance: Utterance) -> None:
        self._steps = steps
        self._utterance = utterance
        self._given = 0  # codes since the beginning
        self._sent = 0  # samples since the beginning
        self._pieces: list[_Piece] = []  # text not yet sent, in order
        self._finished = False

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        """Take ``codes`` and the ``text`` that they say; return the audio that they complete.

        The call takes everything at once. Each step of the iterator is one chunk of the model,
        about a second of audio; the next iterator makes the steps that were not taken. Feed group
        by group for exact word times: a word ends with the codes that it was fed with.

        Raises:
            ValueError: the utterance is finished, or a code is not in the codebook.
        """
        if self._finished:
            raise ValueError("the utterance is finished")
        self._steps.add(self._utterance, codes)
        self._given += len(codes)
        if text:
            self._pieces.append(_Piece(text, self._given * SAMPLES_PER_CODE))
        return self._render()

    def finish(self) -> Iterator[AudioChunk]:
        """End the utterance: return the rest of the audio, then the rest of the text."""
        self._finished = True
        return self._render()

    def _render(self) -> Iterator[AudioChunk]:
        while (samples := self._steps.next_chunk(self._utterance)) is not None:
            if len(samples):  # none, if the first chunk is all overlap
                self._sent += len(samples)
                yield AudioChunk(samples, self._words(self._sent))
        if self._finished and (self._utterance.is_open or self._pieces):
            samples = self._steps.last_chunk(self._utterance)
            self._sent += len(samples)
            yield AudioChunk(samples, self._words(self._sent))

    def _words(self, until_sample: int) -> tuple[SpokenWord, ...]:
        """Take the words that end by ``until_sample``.

        A word that more letters may follow goes out too, once its audio has: the rest of it is
        then a word of its own.
        """
        text = "".join(piece.text for piece in self._pieces)
        words, taken = [], 0
        for match in _WORD.finditer(text):
            end_sample = self._end_of(match.end())
            if end_sample > until_sample:
                break
            words.append(SpokenWord(match.group(), end_sample))
            taken = match.end()
        self._drop(taken)
        return tuple(words)

    def _end_of(self, length: int) -> int:
        """Where the first ``length`` characters that wait end."""
        for piece in self._pieces:
            length -= len(piece.text)
            if length <= 0:
                return piece.end_sample
        raise AssertionError("more text than waits")

    def _drop(self, length: int) -> None:
        while length:
            piece = self._pieces[0]
            taken = min(length, len(piece.text))
            piece.text, length = piece.text[taken:], length - taken
            if not piece.text:
                self._pieces.pop(0)
