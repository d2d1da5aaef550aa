"""What edges and engines say to each other: frames in MessagePack, one a WebSocket message. No IO.

A request has a number that the edge gives it; answers bear it. All frames of a call come in order,
so what is asked of an engine sees exactly the audio that was sent before.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.ear.passage import Passage, Wish
from engine.types import (
    CallArguments,
    CallEnded,
    CallRule,
    CallStarted,
    Finished,
    GenerationOptions,
    Piece,
    Role,
    Speech,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)

LINK_PATH, CALL_PATH, VOICE_PATH = "/engine/link", "/engine/call", "/engine/voice"
ENGINE_HEADER = "X-Duplex-Engine"  # of an answered upgrade: the process, of which each has its own
FULL = b"full"  # begins the answer to an upgrade that is refused for want of room
WINDOW = 16  # pieces of an answer that are made before they are asked for
MAX_FRAME_BYTES = 32 * 1024 * 1024  # of a whole turn's audio, sent again


class Frame(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message on the wire."""


# From the edge.


class BeginTurn(Frame, frozen=True):
    """See `EngineSession.begin_turn`."""


class Audio(Frame, frozen=True):
    """More of the open turn: 16 kHz mono float32, little-endian, as the edge has it, so that all
    engines hear the same bits."""

    pcm: bytes


class HearIn(Frame, frozen=True):
    """The caller's language."""

    language: str | None


class OnlyListen(Frame, frozen=True):
    """Nothing will be answered."""


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A message of the conversation."""

    role: Role
    text: str
    sound: int | None = None
    tools: tuple[Tool, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()


class Listen(Frame, frozen=True):
    """Hear the open turn: `Words` until it is cancelled."""

    request: int
    history: tuple[Line, ...]


class EndTurn(Frame, frozen=True):
    """Hear the open turn exactly: one `Words`."""

    request: int


class Prefill(Frame, frozen=True):
    """See `EngineSession.prefill`."""

    request: int
    history: tuple[Line, ...]


class Options(msgspec.Struct, frozen=True, array_like=True):
    """`GenerationOptions`, as numbers."""

    max_tokens: int
    think_tokens: int
    temperature: float
    top_p: float
    repetition_penalty: float
    thinking: Thinking
    calls: CallRule


class Respond(Frame, frozen=True):
    """Answer: a `Said` for each piece, `WINDOW` of them before there is `More`."""

    request: int
    history: tuple[Line, ...]
    options: Options
    ahead_s: float


class More(Frame, frozen=True):
    """So many pieces were taken."""

    request: int
    pieces: int


class Ahead(Frame, frozen=True):
    """How long the speech made so far will still sound; see `GenerationOptions`."""

    request: int
    seconds: float


class Cancel(Frame, frozen=True):
    """Nobody waits for the answer any more."""

    request: int


class Hear(Frame, frozen=True):
    """Hear a passage of a recording: one `HeardPassage`."""

    request: int
    pcm: bytes
    wish: Wish


class Forget(Frame, frozen=True):
    """Sounds that are in no conversation any more."""

    sounds: tuple[int, ...]


Asking = Listen | EndTurn | Prefill | Respond | Hear
FromEdge = Asking | BeginTurn | Audio | HearIn | OnlyListen | More | Ahead | Cancel | Forget


# From the engine.


class Words(Frame, frozen=True):
    """A transcript. ``sound`` is the number by which the engine keeps what the brain heard."""

    request: int
    text: str
    stable: str
    samples: int
    sound: int | None
    is_unclear: bool
    language: str


class Said(Frame, frozen=True):
    """A piece of an answer: the name of its type, and its fields."""

    request: int
    kind: str
    piece: msgspec.Raw


class HeardPassage(Frame, frozen=True):
    """The words of a passage."""

    request: int
    passage: Passage


class Done(Frame, frozen=True):
    """The request is finished."""

    request: int


class Failed(Frame, frozen=True):
    """The request failed, and the session goes on. ``is_context``: for want of room."""

    request: int
    message: str
    is_context: bool = False


FromEngine = Words | Said | HeardPassage | Done | Failed


# On the link, which an edge keeps to each engine: how it is.


class VoiceAbout(msgspec.Struct, frozen=True, array_like=True):
    """A voice that the process lends; see `tts.types.Voice`."""

    name: str
    sample_rate: int
    takes_codes: bool


class About(Frame, frozen=True):
    """What an engine is; said first."""

    model: str
    instructions: str  # that its model is given, where a server has none of its own
    options: Options  # how replies are decoded, where a client does not limit them further
    languages: frozenset[str] | None
    knows_times: bool
    voices: tuple[VoiceAbout, ...]  # first, that of calls that name none
    voice_languages: frozenset[str] | None


class State(Frame, frozen=True):
    """How full it is; said at each change."""

    calls: int
    limit: int
    is_stopping: bool
    is_alive: bool

    @property
    def has_room(self) -> bool:
        """Whether it takes another call."""
        return self.is_alive and not self.is_stopping and self.calls < self.limit


OnLink = About | State

_encoder = msgspec.msgpack.Encoder()
_from_edge: "msgspec.msgpack.Decoder[FromEdge]" = msgspec.msgpack.Decoder(FromEdge)
_from_engine: "msgspec.msgpack.Decoder[FromEngine]" = msgspec.msgpack.Decoder(FromEngine)
_on_link: "msgspec.msgpack.Decoder[OnLink]" = msgspec.msgpack.Decoder(OnLink)
_KINDS: dict[type[Piece], str] = {
    Speech: "speech",
    Thought: "thought",
    CallStarted: "call",
    CallArguments: "arguments",
    CallEnded: "call_end",
    Finished: "finished",
}
_PIECES: "dict[str, msgspec.msgpack.Decoder[Any]]" = {
    name: msgspec.msgpack.Decoder(kind) for kind, name in _KINDS.items()
}


def encode(frame: Frame) -> bytes:
    """Return ``frame`` as a message."""
    return _encoder.encode(frame)


def from_edge(data: bytes) -> FromEdge:
    """
    Raises:
        ValueError: ``data`` is no frame of an edge.
    """
    return _from_edge.decode(data)


def from_engine(data: bytes) -> FromEngine:
    """
    Raises:
        ValueError: ``data`` is no frame of an engine.
    """
    return _from_engine.decode(data)


def on_link(data: bytes) -> OnLink:
    """
    Raises:
        ValueError: ``data`` is no frame of a link.
    """
    return _on_link.decode(data)


def said(request: int, piece: Piece) -> Said:
    """Return a piece as a frame."""
    return Said(request, _KINDS[type(piece)], msgspec.Raw(_encoder.encode(piece)))


def piece_of(frame: Said) -> Piece:
    """
    Raises:
        ValueError: it is no piece.
    """
    decoder = _PIECES.get(frame.kind)
    if decoder is None:
        raise ValueError(f"there is no piece {frame.kind!r}")
    piece: Piece = decoder.decode(frame.piece)
    return piece


def pcm_of(samples: NDArray[np.float32]) -> bytes:
    """Return ``samples`` [N] as they are sent."""
    return samples.astype("<f4", copy=False).tobytes()


def samples_of(pcm: bytes) -> NDArray[np.float32]:
    """Return the samples [N] that were sent.

    Raises:
        ValueError: it is no whole number of them.
    """
    return np.frombuffer(pcm, "<f4").astype(np.float32, copy=False)


def options_of(options: GenerationOptions) -> Options:
    """Return ``options`` without their function."""
    return Options(
        options.max_tokens,
        options.think_tokens,
        options.temperature,
        options.top_p,
        options.repetition_penalty,
        options.thinking,
        options.calls,
    )


def generation_options(options: Options, speech_ahead_s: Callable[[], float]) -> GenerationOptions:
    """Return what `options_of` was given, with a function of this process."""
    return GenerationOptions(
        options.max_tokens,
        options.think_tokens,
        options.temperature,
        options.top_p,
        options.repetition_penalty,
        options.thinking,
        speech_ahead_s,
        options.calls,
    )
