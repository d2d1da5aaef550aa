"""A call whose scores are no numbers fails alone, and can answer again."""

import asyncio
from collections.abc import Sequence

import pytest
import torch

from engine.brain.interface import BrainError
from engine.native.runtime.runner import Runner, StepInput, StepOutput
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Prompt
from tests._support.tiny_decoder import tiny_decoder

pytestmark = pytest.mark.torch

BROKEN = 63  # a prompt's id whose latent stands for a fault of the device


class Faulty(Runner):
    """Keys and values of a sequence become NaN with a step that feeds `BROKEN`, while it is ill."""

    ill = True
    left_nan = False  # whether a step left some in the cache

    def step(self, feeds: Sequence[StepInput]) -> StepOutput:
        embedding = self.decoder.embedding
        healthy = embedding[BROKEN].clone()
        if self.ill:
            embedding[BROKEN] = torch.nan
        try:
            return super().step(feeds)
        finally:
            embedding[BROKEN] = healthy
            self.left_nan |= bool(torch.isnan(torch.stack(self.pool.values)).any())


async def say(scheduler: Scheduler, ids: Sequence[int], limit: int = 8) -> list[int]:
    log = scheduler.open_log()
    try:
        async with scheduler.generate(
            log, Prompt(ids), Sampling(temperature=0.0), stop_ids=frozenset(), limit=limit
        ) as tokens:
            return [token async for token in tokens]
    finally:
        await scheduler.run(log.close)


async def test_a_broken_row_fails_its_answer_and_no_other() -> None:
    decoder = tiny_decoder()
    # As few blocks as two calls need: the next one gets those that hold what was broken.
    runner = Faulty(decoder, decoder.open_pool(8, block_tokens=4))
    scheduler = Scheduler(runner)
    good, ill = [1, 2, 3, 4, 5], [9, BROKEN, 7]
    runner.ill = False
    expected, recovered = await say(scheduler, good), await say(scheduler, ill)
    runner.ill = True
    said, failed = await asyncio.gather(
        say(scheduler, good), say(scheduler, ill), return_exceptions=True
    )
    assert said == expected
    assert isinstance(failed, BrainError)
    assert "not finite" in str(failed)
    assert runner.left_nan
    assert runner.pool.free_blocks == 8
    runner.ill = False
    both = await asyncio.gather(say(scheduler, good, 8), say(scheduler, ill, 8))
    assert both == [expected, recovered]
    assert scheduler.is_alive
    scheduler.close()


async def test_what_a_broken_answer_left_in_its_log_is_built_again() -> None:
    decoder = tiny_decoder()
    runner = Faulty(decoder, decoder.open_pool(16, block_tokens=4))
    scheduler = Scheduler(runner)
    log = scheduler.open_log()

    async def answer() -> list[int]:
        async with scheduler.generate(
            log, Prompt([9, BROKEN, 7]), Sampling(0.0), stop_ids=frozenset(), limit=4
        ) as tokens:
            return [token async for token in tokens]

    with pytest.raises(BrainError, match="not finite"):
        await answer()
    runner.ill = False
    assert await answer() == await say(scheduler, [9, BROKEN, 7], 4)
    scheduler.close()
