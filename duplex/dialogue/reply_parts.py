"""What a reply is made of, in the order in which it goes to the caller."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.types import CallPiece, Finished, GenerationOptions, Message, Piece, Speech
from tts.types import SpokenWord

_SENTENCE_END = re.compile(r"[.?!]\s")


@dataclass(frozen=True, slots=True)
class ReplyText:
    """Words of a reply without a voice."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyThought:
    """Reasoning. It goes out on a channel of its own and is never spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """Audio and the words that end in it. The words' offsets count from the reply's first sample
    while the part waits in `Delivery`, and from its item's first sample when it goes out."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]


ReplyPart = ReplyText | ReplyThought | ReplyAudio | CallPiece


@dataclass(frozen=True, slots=True)
class UnheardRest:
    """What the caller did not hear of a reply that was given up: the thing that "go on" can mean.

    ``audio`` was made already, with offsets from its own first sample; ``text`` was still to be
    spoken. ``is_whole`` is false if the brain would have said more.
    """

    audio: tuple[ReplyAudio, ...]
    text: str
    is_whole: bool

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Say the text, as if a brain had thought of it just now. If the brain was stopped, say
        whole sentences, if there are any."""
        text = self.text
        if not self.is_whole and (ends := [*_SENTENCE_END.finditer(text)]):
            text = text[: ends[-1].end()]
        if text:
            yield Speech(text)
        yield Finished("stop" if self.is_whole else "length", 0, 0, 0)
