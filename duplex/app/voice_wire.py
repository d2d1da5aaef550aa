"""What an edge and the voice of an engine process say to each other: frames in MessagePack, on one
WebSocket for each answer that is spoken. No IO."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.remote_engine.wire import Frame, pcm_of, samples_of
from tts.types import AudioChunk, SpokenWord

WINDOW = 4  # chunks that are made before they are asked for: the first is heard meanwhile


class Feed(Frame, frozen=True):
    """Speak this; see `tts.types.Utterance.feed`. Chunks of sound, then `Fed`."""

    text: str
    codes: tuple[int, ...] = ()


class Finish(Frame, frozen=True):
    """Speak what is left; the answer is over then. Answered as `Feed` is."""


class More(Frame, frozen=True):
    """A chunk was taken."""


class Chunk(Frame, frozen=True):
    """Sound: float32, little-endian, and the words that end in it."""

    pcm: bytes
    words: tuple[SpokenWord, ...]

    def chunk(self) -> AudioChunk:
        """As voices give it."""
        return AudioChunk(samples_of(self.pcm), self.words)


class Fed(Frame, frozen=True):
    """That was all sound of one `Feed`."""


class Failed(Frame, frozen=True):
    """The voice failed at one `Feed`."""

    message: str


ToVoice = Feed | Finish | More
FromVoice = Chunk | Fed | Failed
_to_voice: "msgspec.msgpack.Decoder[ToVoice]" = msgspec.msgpack.Decoder(ToVoice)
_from_voice: "msgspec.msgpack.Decoder[FromVoice]" = msgspec.msgpack.Decoder(FromVoice)


def to_voice(data: bytes) -> ToVoice:
    """
    Raises:
        ValueError: ``data`` is no frame of an edge.
    """
    return _to_voice.decode(data)


def from_voice(data: bytes) -> FromVoice:
    """
    Raises:
        ValueError: ``data`` is no frame of a voice.
    """
    return _from_voice.decode(data)


def chunk_of(samples: NDArray[np.float32], words: tuple[SpokenWord, ...]) -> Chunk:
    """Return sound as a frame."""
    return Chunk(pcm_of(samples), words)
