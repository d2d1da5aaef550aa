"""One call hears: a chunk that failed is made good, and turns do not disturb others."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.native.audio_stream import AudioConfig, Hearing
from engine.native.audio_tower import AudioTower
from engine.native.engine import NativeEngine, NativeSession
from engine.native.load import NativeModel
from engine.types import GenerationOptions, Message, Speech, Transcript
from tests._support.native import answer, load_tiny
from tests._support.published_ear import PublishedEar, speechlike

pytestmark = pytest.mark.torch

SECOND = 16_000
LATENT = 1280  # samples


class Scribe:
    """Stands in for the ear: the words are how many seconds it heard."""

    def transcribe(self, audio: NDArray[np.float32]) -> str:
        return f"{len(audio) / SECOND:.1f} seconds"


@pytest.fixture
def model(tmp_path: Path) -> Iterator[NativeModel]:
    model = load_tiny(tmp_path)
    yield model
    model.brain.close()


@pytest.fixture
def engine(model: NativeModel) -> NativeEngine:
    assert model.tower is not None
    return NativeEngine(Scribe(), model.tower, model.brain)  # type: ignore[arg-type]


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal(int(seconds * SECOND))).astype(np.float32)


async def hear(session: NativeSession, audio: NDArray[np.float32]) -> Transcript:
    session.begin_turn()
    session.append_audio(audio)
    return await session.end_turn()


def rows(transcript: Transcript) -> torch.Tensor:
    assert transcript.sound is not None
    return torch.cat([part.rows for part in transcript.sound.parts])  # type: ignore[attr-defined]


async def test_what_is_heard_is_the_same_however_it_comes(engine: NativeEngine) -> None:
    one, other = engine.open(), engine.open()
    whole = await hear(one, noise(2.0))
    other.begin_turn()
    listening = asyncio.create_task(drain(other))
    for cut in np.array_split(noise(2.0), 40):
        other.append_audio(cut)
        await asyncio.sleep(0)
    pieces = await other.end_turn()
    listening.cancel()
    await asyncio.wait([listening])
    assert whole.text == pieces.text == "2.0 seconds"
    assert len(rows(whole)) == 25
    torch.testing.assert_close(rows(whole), rows(pieces), rtol=1e-4, atol=1e-4)
    await asyncio.gather(one.close(), other.close())


async def drain(session: NativeSession) -> None:
    async with aclosing(session.listen([])) as transcripts:
        async for _ in transcripts:
            pass


async def test_a_chunk_that_failed_is_encoded_again(
    engine: NativeEngine, model: NativeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.tower is not None
    session, other = engine.open(), engine.open()
    expected = rows(await hear(other, noise(2.0)))
    with monkeypatch.context() as patch:
        patch.setattr(model.tower.adaptor, "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(EngineError, match="failed"):
            await hear(session, noise(2.0))
    transcript = await session.end_turn()
    torch.testing.assert_close(rows(transcript), expected)
    await asyncio.gather(session.close(), other.close())


@pytest.mark.parametrize("tail", [1, *range(640, 640 + 8 * 160, 160)])
@pytest.mark.parametrize("hearing", ["exact_end", "exact"])
async def test_exact_hearing_is_the_published_pass_over_every_block(
    model: NativeModel, hearing: Hearing, tail: int
) -> None:
    assert model.tower is not None
    block = 20 * LATENT
    tower = AudioTower(
        model.tower.encoder,
        model.tower.adaptor,
        model.tower.pool,
        AudioConfig(chunk=2, lookahead=2, block_samples=block, hearing=hearing),
    )
    session = NativeEngine(Scribe(), tower, model.brain).open()  # type: ignore[arg-type]
    pcm = speechlike(2 * block + 5 * LATENT + tail)
    session.begin_turn()
    listening = asyncio.create_task(drain(session))
    for cut in np.array_split(pcm, 30):
        session.append_audio(cut)
        await asyncio.sleep(0)
    heard = rows(await session.end_turn())
    listening.cancel()
    await asyncio.wait([listening])
    expected = []
    for start in range(0, len(pcm), block):
        stream = AudioTower(tower.encoder, tower.adaptor, tower.pool).open()
        stream.feed(pcm[start : start + block])
        request = stream.exact()
        assert request is not None
        expected.append(PublishedEar(tower.encoder, tower.adaptor).latents(request.mel))
    torch.testing.assert_close(heard, torch.cat(expected), rtol=1e-4, atol=1e-4)
    await session.close()


async def test_a_turn_may_begin_while_the_last_is_still_being_heard(engine: NativeEngine) -> None:
    session, other = engine.open(), engine.open()
    session.begin_turn()
    session.append_audio(noise(2.0))
    ending = asyncio.create_task(session.end_turn())
    busy = asyncio.create_task(hear(other, noise(1.5, seed=1)))
    await asyncio.sleep(0)
    session.begin_turn()
    session.append_audio(noise(0.3, seed=2))
    assert len(rows(await ending)) == 25
    assert (await busy).sound is not None
    assert len(rows(await session.end_turn())) > 0
    await asyncio.gather(session.close(), other.close())


async def test_a_call_gives_all_memory_back(engine: NativeEngine, model: NativeModel) -> None:
    assert model.tower is not None
    sounds, texts = model.tower.pool, model.brain.scheduler.runner.pool
    session = engine.open()
    listening = asyncio.create_task(drain(session))
    heard = await hear(session, noise(27.0))  # two blocks
    assert heard.sound is not None
    assert sum(id_ < 0 for id_ in heard.sound.ids) == 313 + 26 - 1
    message = Message("user", heard.text, heard.sound)
    options = GenerationOptions(max_tokens=8, repetition_penalty=1.0)
    async with aclosing(session.respond([message], options)) as pieces:
        said = [piece async for piece in pieces]
    assert any(isinstance(piece, Speech) for piece in said)
    listening.cancel()
    await asyncio.wait([listening])
    await session.close()
    assert sounds.free_blocks == sounds.blocks
    assert texts.free_blocks == texts.blocks


async def test_the_brain_answers_what_it_heard(engine: NativeEngine, model: NativeModel) -> None:
    session = engine.open()
    heard = await hear(session, noise(1.0))
    brain = model.brain.open()
    pieces = await answer(brain, [Message("user", "", heard.sound)])
    assert len(pieces) > 1
    await asyncio.gather(session.close(), brain.close())


async def test_what_was_heard_is_freed_with_the_last_message_that_has_it(
    engine: NativeEngine,
) -> None:
    session = engine.open()
    heard = await hear(session, noise(2.0))
    assert heard.sound is not None
    latents = [weakref.ref(part.rows) for part in heard.sound.parts]  # type: ignore[attr-defined]
    await session.prefill([Message("user", heard.text, heard.sound)])
    assert all(ref() is not None for ref in latents)
    del heard
    await session.prefill([])
    session.begin_turn()
    await hear(session, noise(0.5))
    gc.collect()
    assert all(ref() is None for ref in latents)
    await session.close()


async def test_callers_for_whom_the_ear_has_no_room_at_once_are_all_heard(
    engine: NativeEngine, model: NativeModel
) -> None:
    """Four turns of two seconds in a cache for two: those that were forgotten are heard whole."""
    assert model.tower is not None
    tower = AudioTower(
        model.tower.encoder,
        model.tower.adaptor,
        model.tower.encoder.pool(blocks=14),
        AudioConfig(chunk=2, lookahead=2),
    )
    narrow = NativeEngine(Scribe(), tower, model.brain)  # type: ignore[arg-type]
    sessions = [narrow.open() for _ in range(4)]
    for session in sessions:
        session.begin_turn()
    listening = [asyncio.create_task(drain(session)) for session in sessions]
    for cuts in zip(*(np.array_split(noise(2.0, seed), 20) for seed in range(4)), strict=True):
        for session, cut in zip(sessions, cuts, strict=True):
            session.append_audio(cut)
        await asyncio.sleep(0.01)
    heard = [rows(await session.end_turn()) for session in sessions]
    assert tower.forgotten >= 2
    for seed, found in enumerate(heard):
        assert len(found) == 25
        alone = engine.open()
        chunks = rows(await hear(alone, noise(2.0, seed)))
        stream = tower.open()
        stream.feed(noise(2.0, seed))
        request = stream.exact()
        assert request is not None
        whole = PublishedEar(tower.encoder, tower.adaptor).latents(request.mel)
        assert min((found - each).abs().max() for each in (chunks, whole)) < 1e-4
        await alone.close()
    for task in listening:
        task.cancel()
    await asyncio.wait(listening)
    await asyncio.gather(*(session.close() for session in sessions))
    assert tower.pool.free_blocks == tower.pool.blocks
