"""The brain on a real vLLM with the default model. `make test-scale-vllm` installs it."""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest
import pytest_asyncio

from duplex.app.build_vllm import check_options, model_dir
from duplex.config import BrainConfig, Config
from duplex.errors import ConfigError
from duplex.model_store import ModelStore, Progress
from engine.brain.interface import BrainError
from engine.native.minds import Pace
from engine.types import CallRule, GenerationOptions, Message, Thinking, Tool
from engine.vllm.brain import VllmBrain, load_brain
from engine.vllm.client import AHEAD, Chunk, Client, Draw
from tests._support import brain_contract as contract
from tests._support.brain_contract import SYSTEM, answer
from tests._support.native import answer as pieces_of
from tests._support.native import spoken, thought

pytest.importorskip("vllm", reason="`make test-scale-vllm` installs vLLM")
pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

# In bfloat16 a prompt in other pieces may decide a near tie otherwise.
BLOCK = 32  # tokens
OPTIONS = {"dtype": "float32", "enforce_eager": True, "block_size": BLOCK}
PACE = Pace(thought_tokens=16, speech_tokens=8, speak_margin_s=1.5)
GREEDY = GenerationOptions(max_tokens=40)
QUESTION = Message(
    "user",
    "So I was thinking that we could go to the market on Saturday, because the weather will be "
    "fine and my sister wants to buy apples. Which kinds of apples are good for a cake, and why?",
)
WEATHER = Tool(
    "get_weather",
    "The weather of a city.",
    '{"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},'
    ' "required": ["city", "unit"]}',
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def brain(store: ModelStore) -> AsyncIterator[VllmBrain]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    directory = model_dir("qwen2.5-coder-0.5b", store, Progress(sys.stderr))
    brain = load_brain(directory, OPTIONS, context_tokens=2048, pace=PACE)
    yield brain
    brain.close()


@pytest.mark.parametrize(
    "rule",
    [
        contract.knows_and_follows,
        contract.forgets_what_was_not_heard,
        contract.speaks_other_scripts,
    ],
)
async def test_it_does_what_every_brain_does(brain: VllmBrain, rule: object) -> None:
    await rule(brain)  # type: ignore[operator]


async def drawn(client: Client, ids: list[int], cuts: list[int], limit: int) -> list[int]:
    """Greedy ids after ``ids``, which come in pieces that end at ``cuts`` and with the last id."""

    async def chunks() -> AsyncGenerator[Chunk, None]:
        for start, end in itertools.pairwise([0, *cuts]):
            yield Chunk(ids[start:end], AHEAD)
            await asyncio.sleep(0.05)
        yield Chunk(ids[[0, *cuts][-1] :], Draw(limit=limit))
        await asyncio.Event().wait()

    made: list[int] = []
    async with aclosing(client.request(chunks())) as stream:
        async for tokens in stream:
            made += tokens.ids
            if len(made) >= len(cuts) + limit:
                break
    return made[len(cuts) :]


@pytest.mark.parametrize("step", [7, 16, 33, 50])
async def test_a_prompt_in_pieces_is_answered_as_in_one(brain: VllmBrain, step: int) -> None:
    client, renderer = brain.scheduler.client, brain.renderer
    ids = [
        *renderer.message(SYSTEM),
        *renderer.message(QUESTION),
        *renderer.opening["assistant"],
    ]
    whole = await drawn(client, ids, [], 48)
    assert await drawn(client, ids, list(range(step, len(ids), step)), 48) == whole


async def test_only_the_end_of_a_turn_is_left_however_long_it_is(brain: VllmBrain) -> None:
    for times in (1, 3, 6):
        session = brain.open()
        words = QUESTION.text.split()[:12] * times
        talk = [SYSTEM, Message("user", " ".join(words))]
        for end in range(2, len(words), 2):
            await session.prefill([SYSTEM], " ".join(words[:end]))
        _, counts = await answer(session, talk, options=replace(GREEDY, max_tokens=2))
        assert counts is not None
        assert counts.input_tokens - counts.cached_tokens < 16, times
        await session.close()


async def test_a_speculative_answer_leaves_no_trace(brain: VllmBrain) -> None:
    used, fresh = brain.open(), brain.open()
    await used.prefill([SYSTEM], "So I was thinking")
    await answer(used, [SYSTEM, Message("user", "So I was thinking.")], characters=10)
    await used.prefill([SYSTEM], QUESTION.text[:60])
    talk = [SYSTEM, QUESTION]
    assert (await answer(used, talk))[0] == (await answer(fresh, talk))[0]
    await asyncio.gather(used.close(), fresh.close())


@pytest.mark.parametrize("mode", ["before", "think_first", "speak_first"])
async def test_it_thinks_while_it_speaks(brain: VllmBrain, mode: Thinking) -> None:
    session = brain.open()
    options = replace(GREEDY, think_tokens=48, thinking=mode)
    pieces = await pieces_of(session, [SYSTEM, QUESTION], options)
    assert len(thought(pieces)) > 20
    assert len(spoken(pieces)) > 5  # in which the 0.5B may think again: the thought filter's
    await session.close()


async def test_functions_are_called_and_need_not_be(brain: VllmBrain) -> None:
    session = brain.open()
    talk = [
        Message("system", "Be brief.", tools=(WEATHER,)),
        Message("user", "How is the weather in Paris?"),
    ]
    must = replace(GREEDY, calls=CallRule(must=True, many=False))
    said, _ = await answer(session, talk, options=must)
    assert '"name": "get_weather", "arguments": {"city": "Paris", "unit": ' in said
    spoken_, _ = await answer(session, talk, options=replace(GREEDY, calls=CallRule(may=False)))
    assert spoken_.strip()
    assert not set("{}<>") & set(spoken_)
    await session.close()


async def test_calls_answer_at_the_same_time_as_alone(brain: VllmBrain) -> None:
    questions = ["What is the capital of Spain?", "Who wrote Hamlet?", "How many days has a week?"]
    talks = [[SYSTEM, Message("user", question)] for question in questions]
    sessions = [brain.open() for _ in talks]
    alone = [(await answer(sessions[0], talk))[0] for talk in talks]
    both = await asyncio.gather(*map(answer, sessions, talks))
    same = sum(one == other for one, (other, _) in zip(alone, both, strict=True))
    assert same == len(talks), (alone, both)
    await asyncio.gather(*(session.close() for session in sessions))


async def test_what_is_dropped_frees_its_blocks(brain: VllmBrain) -> None:
    for _ in range(3):
        session = brain.open()
        await session.prefill([SYSTEM], QUESTION.text)
        assert used_blocks(brain) > 2
        await answer(session, [SYSTEM, QUESTION], characters=10)  # cut
        await asyncio.sleep(0.2)
        await session.close()
    await drawn(brain.scheduler.client, [1], [], 1)
    assert used_blocks(brain) <= 1, "more than this one request needs"


def used_blocks(brain: VllmBrain) -> int:
    """How many requests hold, as vLLM told after its last step."""
    from prometheus_client import REGISTRY

    [usage] = [m for m in REGISTRY.collect() if m.name == "vllm:kv_cache_usage_perc"]
    share = sum(sample.value for sample in usage.samples)
    return round(share * brain.scheduler.client.capacity_tokens / BLOCK)


def test_options_are_those_that_this_vllm_knows() -> None:
    def config(**options: object) -> Config:
        return Config(brain=BrainConfig(kind="vllm", vllm=options))

    assert check_options(config(dtype="bfloat16", tensor_parallel_size=2)).startswith("0.")
    with pytest.raises(ConfigError, match="no option 'dtyp': did you mean 'dtype'"):
        check_options(config(dtyp="bfloat16"))
    with pytest.raises(
        ConfigError, match=r"max_model_len cannot be set: set brain\.context_tokens"
    ):
        check_options(config(max_model_len=100))


async def test_a_killed_engine_fails_each_answer_and_is_told(brain: VllmBrain) -> None:
    """The last test: it leaves no brain behind."""
    from multiprocessing import active_children

    session = brain.open()
    await answer(session, [SYSTEM, QUESTION], characters=5)
    for child in active_children():
        child.kill()
    async with asyncio.timeout(60):
        while brain.is_alive:
            await asyncio.sleep(0.1)
    for _ in range(2):
        with pytest.raises(BrainError, match="died"):
            await answer(session, [SYSTEM, QUESTION])
    await session.close()
