"""The device's thread: calls share steps, and a cancelled one has let go of its log."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor

from engine.brain.interface import BrainError
from engine.errors import EngineError
from engine.native.kv_cache import CacheFull, Log
from engine.native.runtime.planning import Candidate, Limits, plan
from engine.native.runtime.runner import Runner, StepInput, StepOutput
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import RUN_AHEAD_TOKENS, Prompt
from tests._support.tiny_decoder import tiny_decoder

pytestmark = pytest.mark.torch

GREEDY = Sampling(temperature=0.0)
TEXTS = [[1, 2, 3, 4, 5], [9, 8, 7], [30, 31], [40]]


class Sick(Runner):
    """Fails the steps that feed a prompt which ends in 1, 63."""

    def step(self, feeds: Sequence[StepInput]) -> StepOutput:
        if any(list(feed.entries[-2:]) == [1, 63] for feed in feeds):
            raise RuntimeError("out of order")
        return super().step(feeds)


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    decoder = tiny_decoder()
    scheduler = Scheduler(Sick(decoder, decoder.open_pool(320, block_tokens=4)))
    yield scheduler
    scheduler.close()


async def say(scheduler: Scheduler, log: Log, ids: Sequence[int], limit: int = 12) -> list[int]:
    async with scheduler.generate(
        log, Prompt(ids), GREEDY, stop_ids=frozenset(), limit=limit
    ) as tokens:
        return [token async for token in tokens]


def expected(ids: Sequence[int], count: int) -> list[int]:
    """Greedy tokens of a model that sees the whole text anew for each."""
    decoder = tiny_decoder()
    text = list(ids)
    for _ in range(count):
        runner = Runner(decoder, decoder.open_pool(64))
        scores = runner.step([StepInput(runner.pool.open(), text, wants_scores=True)]).scores
        assert scores is not None
        text.append(int(scores[0].argmax()))
    return text[len(ids) :]


async def test_calls_share_steps_and_each_says_what_it_says_alone(scheduler: Scheduler) -> None:
    logs = [scheduler.open_log() for _ in TEXTS]
    said = await asyncio.gather(
        *(say(scheduler, log, ids) for log, ids in zip(logs, TEXTS, strict=True))
    )
    assert said == [expected(ids, 12) for ids in TEXTS]
    assert len({tuple(words) for words in said}) == len(TEXTS)
    assert scheduler.counts.widest > 1
    assert scheduler.counts.steps < 12 * len(TEXTS)


async def test_a_prompt_that_is_held_in_part_is_cut_and_completed(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    assert await scheduler.bring_up_to(log, Prompt([1, 2, 3, 4, 5])) == 0
    assert await scheduler.bring_up_to(log, Prompt([1, 2, 3, 9])) == 3
    assert log.entries == [1, 2, 3, 9]
    tokens = scheduler.counts.tokens
    assert await scheduler.bring_up_to(log, Prompt([1, 2])) == 2
    assert log.entries == [1, 2]
    assert scheduler.counts.tokens == tokens
    assert await say(scheduler, log, [1, 2], 3) == expected([1, 2], 3)


async def test_a_generation_that_is_left_has_let_go_of_its_log(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    async with scheduler.generate(
        log, Prompt([5, 6]), GREEDY, stop_ids=frozenset(), limit=1000
    ) as tokens:
        assert await tokens.cached() == 0
        first = [await anext(tokens) for _ in range(3)]
    held = list(log.entries)
    steps = scheduler.counts.steps
    assert held[:2] == [5, 6]
    assert held[2 : 2 + len(first)] == first[: len(held) - 2]
    await scheduler.run(lambda: None)
    assert log.entries == held
    assert scheduler.counts.steps == steps


async def test_a_row_rests_when_its_consumer_does(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    async with scheduler.generate(
        log, Prompt([5, 6]), GREEDY, stop_ids=frozenset(), limit=100
    ) as tokens:
        await anext(tokens)
        for _ in range(200):  # as many chances to run on
            await scheduler.run(lambda: None)
        assert scheduler.counts.decoded <= RUN_AHEAD_TOKENS + 2
        assert len([token async for token in tokens]) == 99


async def test_a_stop_token_ends_the_answer_and_is_told(scheduler: Scheduler) -> None:
    words = expected([1, 2, 3, 4, 5], 12)
    stop = words[4]
    at = words.index(stop)
    async with scheduler.generate(
        scheduler.open_log(), Prompt(TEXTS[0]), GREEDY, stop_ids=frozenset([stop]), limit=12
    ) as tokens:
        assert [token async for token in tokens] == words[: at + 1]
    async with scheduler.generate(
        scheduler.open_log(),
        Prompt(TEXTS[0]),
        GREEDY,
        stop_ids=frozenset([stop]),
        limit=12,
        must_say=lambda token: False,
    ) as tokens:
        assert stop not in [token async for token in tokens]


async def test_a_stop_token_may_come_as_soon_as_what_must_be_said_is_made(
    scheduler: Scheduler,
) -> None:
    words = expected(TEXTS[0], 12)
    stop = words[4]
    asked: list[int] = []

    def must_say(token: int) -> bool:
        asked.append(token)
        return len(asked) == 2

    async with scheduler.generate(
        scheduler.open_log(),
        Prompt(TEXTS[0]),
        GREEDY,
        stop_ids=frozenset([stop]),
        limit=12,
        must_say=must_say,
    ) as tokens:
        assert [token async for token in tokens] == words[: words.index(stop) + 1]
    assert asked == words[:2]


async def test_a_fault_of_what_reads_the_tokens_is_its_call_s(scheduler: Scheduler) -> None:
    def broken(token: int) -> bool:
        raise RuntimeError("no text")

    tokens = scheduler.generate(
        scheduler.open_log(),
        Prompt(TEXTS[0]),
        GREEDY,
        stop_ids=frozenset(),
        limit=4,
        must_say=broken,
    )
    async with tokens:
        assert await anext(tokens) == expected(TEXTS[0], 1)[0]
        with pytest.raises(RuntimeError, match="no text"):
            await anext(tokens)
    assert await say(scheduler, scheduler.open_log(), TEXTS[1]) == expected(TEXTS[1], 12)


async def test_a_failed_step_is_told_and_the_next_one_runs(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    with pytest.raises(BrainError, match="model failed"):
        await scheduler.bring_up_to(log, Prompt([1, 63]))
    with pytest.raises(BrainError, match="model failed"):
        await say(scheduler, log, [1, 63])
    assert log.entries == []
    assert await say(scheduler, log, [1, 2], 2) == expected([1, 2], 2)


async def test_a_prompt_longer_than_the_cache_fails_its_own_call(scheduler: Scheduler) -> None:
    other = scheduler.open_log()
    await scheduler.bring_up_to(other, Prompt([1, 2]))
    small = Scheduler(Runner(scheduler.runner.decoder, scheduler.runner.decoder.open_pool(20, 4)))
    kept = small.open_log()
    with pytest.raises(CacheFull):
        await small.bring_up_to(small.open_log(), Prompt([3] * 100))
    assert await say(small, kept, [1, 2], 2) == expected([1, 2], 2)
    small.close()
    assert await say(scheduler, other, [1, 2], 2) == expected([1, 2], 2)


async def test_the_log_that_rested_longest_makes_room_and_is_built_again() -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(20, block_tokens=4)))
    prompts = [[seed, *range(1, 30)] for seed in range(40, 44)]  # four of 30, in room for 80
    logs = [scheduler.open_log() for _ in prompts]
    for turn in range(3):
        for log, ids in zip(logs, prompts, strict=True):
            assert await say(scheduler, log, ids, 4) == expected(ids, 4), turn
    assert scheduler.memory.dropped > 4
    assert logs[0].length == 0
    assert logs[3].length > 30
    await asyncio.gather(*(scheduler.run(log.close) for log in logs))
    assert scheduler.runner.pool.free_blocks == 20
    scheduler.close()


async def test_of_calls_that_fill_the_cache_together_the_newest_begins_again() -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(12, block_tokens=4)))
    prompts = [[seed, *range(1, 20)] for seed in (40, 41)]  # two of 20, in room for 48
    said = (say(scheduler, scheduler.open_log(), ids, 12) for ids in prompts)
    assert await asyncio.gather(*said) == [expected(ids, 12) for ids in prompts]
    assert scheduler.memory.preempted == 1
    scheduler.close()


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=2, max_size=6),
    st.integers(18, 40),
)
async def test_works_that_want_more_than_the_cache_holds_all_end_as_if_alone(
    works: list[tuple[int, int]], blocks: int
) -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(blocks, block_tokens=4)))
    wide = Scheduler(Runner(decoder, decoder.open_pool(200, block_tokens=4)))
    prompts = [
        ([40 + number, *range(1, length)], limit) for number, (length, limit) in enumerate(works)
    ]

    async def all_said(scheduler: Scheduler) -> list[list[int]]:
        said = (say(scheduler, scheduler.open_log(), ids, limit) for ids, limit in prompts)
        return list(await asyncio.wait_for(asyncio.gather(*said), 30))

    assert await all_said(scheduler) == await all_said(wide)
    scheduler.close()
    wide.close()


async def test_a_cancelled_prefill_stops_and_keeps_a_prefix(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    task = asyncio.create_task(scheduler.bring_up_to(log, Prompt(list(range(60)))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.entries == list(range(log.length))


async def test_requests_of_several_calls_are_done_together(scheduler: Scheduler) -> None:
    seen: list[Sequence[int]] = []

    def double(requests: Sequence[int]) -> list[int]:
        seen.append(requests)
        return [2 * request for request in requests]

    results = await asyncio.gather(*(scheduler.run_batched(double, i) for i in range(4)))
    assert results == [0, 2, 4, 6]
    assert sum(map(len, seen)) == 4

    def broken(requests: Sequence[int]) -> list[int]:
        raise RuntimeError("no")

    with pytest.raises(EngineError, match="failed") as failed:
        await scheduler.run_batched(broken, 1)
    assert str(failed.value.__cause__) == "no"
    assert await scheduler.run_batched(double, 5) == 10


@pytest.mark.parametrize("ending", ["closed", "failed"])
async def test_a_thread_that_has_ended_leaves_nobody_waiting(ending: str) -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(64)))
    log = scheduler.open_log()

    def bug() -> bool:
        raise ZeroDivisionError("a bug")

    if ending == "closed":
        await asyncio.to_thread(scheduler.close)
    else:
        scheduler._stepper.advance = bug  # type: ignore[method-assign]
        with pytest.raises(EngineError, match="failed"):
            await scheduler.bring_up_to(log, Prompt([1]))
    for attempt in (
        scheduler.run(lambda: None),
        scheduler.run_batched(lambda requests: requests, 1),
        scheduler.bring_up_to(log, Prompt([1])),
        say(scheduler, log, [1]),
    ):
        with pytest.raises(EngineError, match=r"closing|failed"):
            await attempt
    await asyncio.to_thread(scheduler.close)


async def test_more_tokens_than_positions_are_refused_alone(scheduler: Scheduler) -> None:
    other = scheduler.open_log()
    long = scheduler.bring_up_to(scheduler.open_log(), Prompt([1] * 1025))
    results = await asyncio.gather(long, say(scheduler, other, [1, 2], 2), return_exceptions=True)
    assert isinstance(results[0], EngineError)
    assert results[1] == expected([1, 2], 2)


async def test_closing_ends_what_is_still_there() -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(64)))
    async with scheduler.generate(
        scheduler.open_log(), Prompt([1]), GREEDY, stop_ids=frozenset(), limit=10_000
    ) as tokens:
        await anext(tokens)
        await asyncio.to_thread(scheduler.close)
        with pytest.raises(EngineError, match="closing"):
            async for _ in tokens:
                pass


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 2)), max_size=12),
    st.integers(1, 6),
)
def test_no_decoding_row_waits_longer_than_the_bound(
    states: list[tuple[bool, int, int]], rows: int
) -> None:
    limits = Limits(rows=rows, prefill_alone=200, prefill_beside_decode=50)
    candidates = [
        Candidate(1 if decodes else pending, decodes, (priority, order))
        for order, (decodes, pending, priority) in enumerate(states)
    ]
    taken = plan(candidates, limits)
    decoding = [i for i, candidate in enumerate(candidates) if candidate.decodes]
    prefilled = sum(count for i, count in taken.items() if not candidates[i].decodes)
    assert sum(i in taken for i in decoding) == min(rows, len(decoding))
    assert prefilled <= (50 if decoding else 200)
    assert all(0 < count <= candidates[i].pending for i, count in taken.items())
    waiting = [w for i, w in enumerate(candidates) if not w.decodes and w.pending > taken.get(i, 0)]
    served = [candidates[i] for i in taken if not candidates[i].decodes]
    assert all(a.rank <= b.rank for a in served for b in waiting)
    if any(candidate.pending for candidate in candidates):
        assert taken


def test_more_decoding_rows_than_a_step_holds_share_the_steps() -> None:
    limits = Limits(rows=4)
    served, decoded = [0] * 6, [0] * 6
    turns = 0
    for _ in range(100):
        candidates = [Candidate(1, True, (0, order), served[order]) for order in range(6)]
        for index in plan(candidates, limits):
            turns += 1
            served[index] = turns
            decoded[index] += 1
    assert sum(decoded) == 400
    assert max(decoded) - min(decoded) <= 1


def test_a_row_of_higher_priority_decodes_first_however_long_others_waited() -> None:
    candidates = [Candidate(1, True, (1, 0), 0), Candidate(1, True, (0, 1), 99)]
    assert plan(candidates, Limits(rows=1)) == {1: 1}


async def test_sixteen_answers_on_two_rows_all_come_to_their_end() -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Runner(decoder, decoder.open_pool(320)), limits=Limits(rows=2))
    logs = [scheduler.open_log() for _ in range(16)]
    progress: list[int] = []

    async def one(number: int) -> None:
        async with scheduler.generate(
            logs[number], Prompt([1, 2, number]), GREEDY, stop_ids=frozenset(), limit=8
        ) as tokens:
            async for _ in tokens:
                progress.append(number)  # noqa: PERF401 - the order among calls is what counts

    await asyncio.gather(*map(one, range(16)))
    scheduler.close()
    assert sorted(progress) == sorted([*range(16)] * 8)
    assert set(progress[:64]) == set(range(16))  # nobody waits for another's end


class Lost(Runner):
    """A device on which every launch fails, as after an illegal access."""

    def step(self, feeds: Sequence[StepInput]) -> StepOutput:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


async def test_a_device_that_fails_every_step_is_lost_and_nobody_waits_for_it() -> None:
    decoder = tiny_decoder()
    scheduler = Scheduler(Lost(decoder, decoder.open_pool(64)))
    log = scheduler.open_log()
    assert scheduler.is_alive
    failed = 0
    while scheduler.is_alive and failed < 20:
        with pytest.raises(EngineError, match="failed"):
            await scheduler.bring_up_to(log, Prompt([1]))
        failed += 1
    assert 1 < failed < 20
    with pytest.raises(EngineError, match="the engine has failed"):
        await scheduler.bring_up_to(log, Prompt([1]))
    await asyncio.to_thread(scheduler.close)


async def test_failures_between_successes_do_not_end_the_engine(scheduler: Scheduler) -> None:
    log = scheduler.open_log()
    for _ in range(20):
        with pytest.raises(BrainError, match="model failed"):
            await scheduler.bring_up_to(scheduler.open_log(), Prompt([1, 63]))
        assert await say(scheduler, log, [1, 2], 1)
    assert scheduler.is_alive


async def test_the_penalty_counts_all_segments_of_an_answer(scheduler: Scheduler) -> None:
    """In two segments the tokens are those of one, and of transformers' processor."""
    sampling = Sampling(temperature=0.0, repetition_penalty=1.8)

    async def segment(before: list[int], limit: int) -> list[int]:
        async with scheduler.generate(
            scheduler.open_log(),
            Prompt([*TEXTS[0], *before]),
            sampling,
            stop_ids=frozenset(),
            limit=limit,
            before=before,
        ) as tokens:
            return [token async for token in tokens]

    first = await segment([], 6)
    answer = [*first, *await segment(first, 6)]
    assert answer == await segment([], 12)
    processor = RepetitionPenaltyLogitsProcessor(penalty=1.8)
    decoder, text = tiny_decoder(), list(TEXTS[0])
    for count in range(12):
        runner = Runner(decoder, decoder.open_pool(64))
        scores = runner.step([StepInput(runner.pool.open(), text, wants_scores=True)]).scores
        assert scores is not None
        seen = torch.tensor([answer[:count]], dtype=torch.long)
        text.append(int(processor(seen, scores.clone()).argmax()))
    assert answer == text[len(TEXTS[0]) :]
    assert answer != expected(TEXTS[0], 12)
