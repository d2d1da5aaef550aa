"""What a reply is made of, in the order in which it goes to the caller."""

import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duplex.audio.formats import Samples
from engine.types import CallPiece, Finished, GenerationOptions, Message, Piece, Speech
from tts.types import SpokenWord

_SENTENCE_END = re.compile(r"[.?!]\s")
_PIECE_MS = 200  # of audio that is sent again at a time


@dataclass(frozen=True, slots=True)
class ReplyText:
    """Reply text of a reply without a voice."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyThought:
    """Reasoning; for the channel of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """Audio and the words that end in it, offsets from the reply's first sample; as it is
    delivered, from its item's."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]


ReplyPart = ReplyText | ReplyThought | ReplyAudio | CallPiece


@dataclass(frozen=True, slots=True)
class UnheardRest:
    """What the caller did not hear of a reply: audio that was made, with offsets from its first
    sample, and the text that was still to be spoken. It is not the whole rest if the brain would
    have said more."""

    audio: tuple[ReplyAudio, ...]
    text: str
    is_whole: bool

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Say the text, as if a brain had thought of it just now; of one that was stopped, whole
        sentences if there are any."""
        text = self.text
        if not self.is_whole and (ends := [*_SENTENCE_END.finditer(text)]):
            text = text[: ends[-1].end()]
        if text:
            yield Speech(text)
        yield Finished("stop" if self.is_whole else "length", 0, 0, 0)


def length(audio: Iterable[ReplyAudio]) -> int:
    """In samples."""
    return sum(len(part.samples) for part in audio)


def moved(audio: ReplyAudio, origin: int) -> ReplyAudio:
    """The same with offsets from ``origin``."""
    words = (SpokenWord(word.text, max(0, word.end_sample - origin)) for word in audio.words)
    return ReplyAudio(audio.samples, tuple(words))


def pieces(
    samples: Samples, words: Sequence[SpokenWord], start: int, rate_hz: int
) -> Iterator[ReplyAudio]:
    """Audio that begins at ``start``, cut small, each part with the words that end in it."""
    step = rate_hz * _PIECE_MS // 1000
    for at in range(0, len(samples), step):
        is_last = at + step >= len(samples)
        count = len(words)
        if not is_last:
            count = sum(word.end_sample <= start + at + step for word in words)
        yield ReplyAudio(samples[at : at + step], tuple(words[:count]))
        words = words[count:]
    if words:
        yield ReplyAudio(samples[:0], tuple(words))
