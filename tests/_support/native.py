"""The native engine on a tiny checkpoint that the test writes."""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import torch

from engine.native.audio_stream import AudioConfig
from engine.native.brain import NativeBrainSession
from engine.native.device_setup import NativeOptions
from engine.native.load import NativeModel, load_model
from engine.native.minds import Pace
from engine.types import Finished, GenerationOptions, Message, RawPiece, Speech, Thought
from tests._support.tiny_checkpoint import write_tiny_checkpoint

PACE = Pace(thought_tokens=8, speech_tokens=5, speak_margin_s=1.5)
GREEDY = GenerationOptions(max_tokens=20, repetition_penalty=1.0)


def load_tiny(directory: Path, *, template: str = "", speaks: bool = False) -> NativeModel:
    """A loaded Step-Audio checkpoint of random weights; ``template`` is its chat template."""
    write_tiny_checkpoint(directory)
    if template:
        (directory / "chat_template.jinja").write_text(template)
    options = NativeOptions(
        dtype=torch.float32,
        context_tokens=1024,
        cache_tokens=8192,
        calls=2,
        audio=AudioConfig(chunk=2, lookahead=2),
        pace=PACE,
        speaks=speaks,
    )
    return load_model(directory, options, lambda what, done: None)


async def answer(
    session: NativeBrainSession, messages: Sequence[Message], options: GenerationOptions = GREEDY
) -> list[RawPiece]:
    """All pieces of one answer."""
    async with aclosing(session.generate(messages, options)) as pieces:
        return [piece async for piece in pieces]


def spoken(pieces: Sequence[RawPiece]) -> str:
    """The answer's text."""
    return "".join(
        piece if isinstance(piece, str) else piece.text
        for piece in pieces
        if isinstance(piece, str | Speech)
    )


def thought(pieces: Sequence[RawPiece]) -> str:
    """The answer's thoughts."""
    return "".join(piece.text for piece in pieces if isinstance(piece, Thought))


def finished(pieces: Sequence[RawPiece]) -> Finished:
    """The last piece."""
    assert isinstance(pieces[-1], Finished)
    return pieces[-1]
