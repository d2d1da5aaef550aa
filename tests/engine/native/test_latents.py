"""What was heard in earlier turns leaves the device, and is there when a log is built again."""

import gc
import weakref
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.native import latents as latents_module
from engine.native.engine import NativeEngine
from engine.native.latents import Latents, LatentSound, on_host, rows_of
from engine.types import Finished, GenerationOptions, Message, Piece, Sound, Speech
from tests._support.native import load_tiny
from tests._support.published_ear import speechlike

pytestmark = pytest.mark.torch


class Words:
    """Stands in for the ear."""

    def transcribe(self, audio: np.ndarray) -> str:
        return "words"


def parts_of(sound: Sound | None) -> list[Latents]:
    assert isinstance(sound, LatentSound)
    return list(sound.parts)


async def test_a_dropped_log_is_built_again_from_what_lies_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Tensor] = []

    def to_other_memory(rows: Tensor) -> Tensor:
        moved.append(rows.clone())
        return moved[-1]

    monkeypatch.setattr(latents_module, "on_host", to_other_memory)
    model = load_tiny(tmp_path)
    assert model.tower is not None
    session = NativeEngine(Words(), model.tower, model.brain).open()  # type: ignore[arg-type]
    history: list[Message] = []
    device: list[weakref.ref[Tensor]] = []
    options = GenerationOptions(max_tokens=12, temperature=0.0, repetition_penalty=1.0)

    async def say() -> list[Piece]:
        async with aclosing(session.respond(history, options)) as pieces:
            return [piece async for piece in pieces]

    for turn in range(3):
        session.begin_turn()
        session.append_audio(speechlike(24_000, turn))
        heard = await session.end_turn()
        history.append(Message("user", heard.text, heard.sound))
        device += [weakref.ref(part.rows) for part in parts_of(heard.sound)]
        said = await say()
        history.append(Message("assistant", "".join(p.text for p in said if isinstance(p, Speech))))
    session.begin_turn()
    await session.prefill(history)
    await model.brain.scheduler.run(lambda: None)
    del heard
    gc.collect()
    assert [ref() for ref in device] == [None] * len(device)
    rows = [part.rows for message in history if message.sound for part in parts_of(message.sound)]
    assert len(rows) == len(device)
    assert all(any(each is other for other in moved) for each in rows)
    history.pop()
    kept = await say()
    log = session._brain._log
    await model.brain.scheduler.run(lambda: log.truncate(0))  # as a full cache does
    again = await say()
    assert again[:-1] == kept[:-1]
    ends = [pieces[-1] for pieces in (kept, again)]
    cached = [end.cached_tokens for end in ends if isinstance(end, Finished)]
    assert cached[0] > 100
    assert cached[1] == 0
    await session.close()
    model.brain.close()


def test_rows_are_looked_up_in_any_order_and_go_over_in_as_few_pieces_as_they_lie_in() -> None:
    one = Latents((-1, -2, -3), torch.arange(6.0).reshape(3, 2))
    other = Latents((-4, -5), torch.arange(10.0, 14.0).reshape(2, 2))
    sounds = [LatentSound((-1, -2, -3, 7, -4, -5), (one, other))]
    everything = torch.cat([one.rows, other.rows])
    assert torch.equal(rows_of([-1, -2, -3, -4, -5], sounds, "cpu"), everything)
    assert torch.equal(rows_of([-5, -2, -3], sounds, "cpu"), everything[[4, 1, 2]])
    assert rows_of([-2], sounds, "meta").device.type == "meta"  # wherever the log lies
    assert on_host(one.rows) is one.rows
