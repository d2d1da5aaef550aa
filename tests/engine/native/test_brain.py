"""A call's conversation in the native engine's log, and its answers, on a tiny checkpoint."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.native.brain import NativeBrain, NativeBrainSession
from engine.native.latents import LatentNames, LatentSound
from engine.native.load import NativeModel
from engine.native.runtime.runner import StepInput
from engine.types import Message, Thinking
from tests._support.native import GREEDY, answer, finished, load_tiny, spoken, thought
from tests._support.tiny_checkpoint import SPECIAL

pytestmark = pytest.mark.torch

HELLO = [Message("system", "Be kind."), Message("user", "Hello")]
BOT, EOT = 256 + SPECIAL.index("<|BOT|>"), 256 + SPECIAL.index("<|EOT|>")
SOUND_START = 256 + SPECIAL.index("<audio_start>")
SOUND_END = 256 + SPECIAL.index("<audio_end>")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeModel]:
    model = load_tiny(tmp_path_factory.mktemp("checkpoint"))
    yield model
    model.brain.close()


@pytest.fixture
def brain(model: NativeModel) -> Iterator[NativeBrain]:
    free = pool_of(model.brain)
    yield model.brain
    assert pool_of(model.brain) == free, "a session kept blocks"


def pool_of(brain: NativeBrain) -> int:
    return brain.scheduler.open_log().pool.free_blocks


def log_of(session: NativeBrainSession) -> list[int]:
    return session._log.entries


def written(*parts: int | str) -> list[int]:
    return [i for part in parts for i in ([part] if isinstance(part, int) else part.encode())]


async def test_the_conversation_is_written_as_the_template_does(brain: NativeBrain) -> None:
    session = brain.open()
    await session.prefill(HELLO)
    prompt = written(BOT, "system\nBe kind.", EOT, BOT, "human\nHello", EOT)
    assert log_of(session) == prompt
    pieces = await answer(session, HELLO)
    assert log_of(session)[: len(prompt) + 11] == [*prompt, *written(BOT, "assistant\n")]
    done = finished(pieces)
    assert (done.input_tokens, done.cached_tokens) == (len(prompt) + 11, len(prompt))
    assert done.output_tokens == 20
    assert len(spoken(pieces)) > 5
    await session.close()


async def test_an_answer_is_what_a_fresh_session_says(brain: NativeBrain) -> None:
    first, fresh = brain.open(), brain.open()
    await first.prefill([*HELLO[:1], Message("user", "Something else entirely")])
    await first.prefill(HELLO, "and a turn that is taken back")
    assert spoken(await answer(first, HELLO)) == spoken(await answer(fresh, HELLO))
    await asyncio.gather(first.close(), fresh.close())


async def test_a_cut_answer_is_cut_from_the_log(brain: NativeBrain) -> None:
    session, fresh = brain.open(), brain.open()
    said = spoken(await answer(session, HELLO))
    heard = [*HELLO, Message("assistant", said[:3]), Message("user", "Stop")]
    before = brain.scheduler.counts.tokens
    await session.prefill(heard)
    # The head of the answer is in the log in the model's own ids; only the rest is run.
    assert brain.scheduler.counts.tokens - before <= len("human\nStop") + 4
    assert spoken(await answer(session, heard)) == spoken(await answer(fresh, heard))
    await asyncio.gather(session.close(), fresh.close())


@pytest.mark.parametrize("mode", ["before", "think_first", "speak_first"])
async def test_thoughts_are_kept_from_speech_and_out_of_the_next_prompt(
    brain: NativeBrain, mode: Thinking
) -> None:
    session = brain.open()
    options = replace(GREEDY, think_tokens=24, thinking=mode)
    pieces = await answer(session, HELLO, options)
    assert len(thought(pieces)) > 10
    assert len(spoken(pieces)) > 5
    assert finished(pieces).output_tokens == 24 + 20
    kinds = [isinstance(piece, str) for piece in pieces[:-1]]
    first_speech = kinds.index(True)
    thoughts_before = len(thought(pieces[:first_speech]).encode())
    if mode == "speak_first":
        assert thoughts_before < 8
    else:
        assert thoughts_before >= {"before": 20, "think_first": 5}[mode]
    if mode != "before":
        assert False in kinds[first_speech:], "it thinks on while it speaks"
    said = Message("assistant", spoken(pieces))
    await session.prefill([*HELLO, said])
    assert bytes(i for i in log_of(session) if i < 256).count(b"think") == 0
    await session.close()


async def test_speech_that_lasts_lets_the_model_think_on(brain: NativeBrain) -> None:
    session = brain.open()
    options = replace(GREEDY, think_tokens=64, thinking="speak_first")
    lockstep = await answer(session, HELLO, options)
    relaxed = await answer(session, HELLO, replace(options, speech_ahead_s=lambda: 9.0))

    def thoughts_before_second_segment(pieces: Sequence[object]) -> int:
        said = [i for i, piece in enumerate(pieces) if isinstance(piece, str)]
        return sum(not isinstance(piece, str) for piece in pieces[: said[5]])

    model_says = thoughts_before_second_segment
    assert model_says(relaxed) > model_says(lockstep)
    await session.close()


async def test_what_was_heard_stands_between_its_marks(brain: NativeBrain) -> None:
    session = brain.open()
    torch.manual_seed(0)
    latents = torch.randn(4, 64)
    names = LatentNames()
    first, rest = names.name(latents[:2]), names.name(latents[2:])
    ids = [*first.ids, *rest.ids]
    await session.prefill(HELLO[:1], LatentSound(first.ids, (first,)))
    system = written(BOT, "system\nBe kind.", EOT)
    assert log_of(session) == [*system, *written(BOT, "human\n"), SOUND_START, *ids[:2]]
    turn = Message("user", "hello", LatentSound(tuple(ids), (first, rest)))
    before = brain.scheduler.counts.tokens
    await session.prefill([*HELLO[:1], turn])
    assert log_of(session)[-4:] == [*ids[2:], SOUND_END, EOT]
    assert brain.scheduler.counts.tokens - before == 4
    mine = await scores_after(brain, session)
    for rows, same in ((latents, True), (latents.flip(0), False)):
        other = brain.open()
        heard = LatentNames().name(rows)
        sound = LatentSound(heard.ids, (heard,))
        await other.prefill([*HELLO[:1], Message("user", "", sound)])
        theirs = await scores_after(brain, other)
        assert torch.allclose(mine, theirs, atol=1e-4) == same
        await other.close()
    await session.close()


async def scores_after(brain: NativeBrain, session: NativeBrainSession) -> torch.Tensor:
    """What would come after a letter more."""

    def step() -> torch.Tensor:
        log = session._log.fork()
        scores = brain.scheduler.runner.step([StepInput(log, [65], wants_scores=True)]).scores
        log.close()
        assert scores is not None
        return scores[0]

    return await brain.scheduler.run(step)


async def test_a_model_that_always_thinks_is_given_an_empty_block(tmp_path: Path) -> None:
    model = load_tiny(tmp_path, template="<|BOT|>assistant\n<think>\n")
    session = model.brain.open()
    pieces = await answer(session, HELLO)
    held = bytes(i for i in log_of(session) if 0 <= i < 256)
    assert b"assistant\n<think>\n\n</think>\n" in held
    assert "think" not in spoken(pieces)
    await session.close()
    model.brain.close()


@pytest.mark.parametrize("after", range(0, 30, 3))
@pytest.mark.parametrize("mode", ["before", "think_first", "speak_first"])
async def test_an_answer_may_be_closed_at_any_piece(
    brain: NativeBrain, mode: Thinking, after: int
) -> None:
    session, fresh = brain.open(), brain.open()
    pieces = session.generate(HELLO, replace(GREEDY, think_tokens=24, thinking=mode))
    for _ in range(after):
        await anext(pieces)
    await pieces.aclose()
    assert spoken(await answer(session, HELLO)) == spoken(await answer(fresh, HELLO))
    await asyncio.gather(session.close(), fresh.close())


@pytest.mark.parametrize("delay", range(6))
async def test_an_answer_may_be_cancelled_at_any_moment_and_more_than_once(
    brain: NativeBrain, delay: int
) -> None:
    session, fresh = brain.open(), brain.open()
    options = replace(GREEDY, think_tokens=24, thinking="speak_first", max_tokens=200)
    task = asyncio.create_task(answer(session, HELLO, options))
    for _ in range(delay * 5):
        await brain.scheduler.run(lambda: None)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spoken(await answer(session, HELLO)) == spoken(await answer(fresh, HELLO))
    await asyncio.gather(session.close(), fresh.close())


async def test_a_prefill_is_superseded_by_an_answer(brain: NativeBrain) -> None:
    session = brain.open()
    ahead = asyncio.create_task(session.prefill([*HELLO, Message("user", "x" * 500)]))
    await asyncio.sleep(0)
    pieces = await answer(session, HELLO)
    await ahead
    assert spoken(pieces)
    await session.close()
    with pytest.raises(RuntimeError, match="closed"):
        await session.prefill(HELLO)
