"""The brain on vLLM over an engine that keeps, cuts and finds again as vLLM does."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import jsonschema  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.brain.interface import BrainError
from engine.native.brain import NativeBrainSession
from engine.native.latents import LatentNames, LatentSound
from engine.types import CallRule, Finished, GenerationOptions, Message, Thinking, Tool
from engine.vllm.client import AHEAD, Chunk
from tests._support.native import answer, finished, spoken, thought
from tests._support.vllm_engine import BLOCK, FakeEngine, open_brain

pytestmark = pytest.mark.torch

SYSTEM = Message("system", "Be brief.")
GREEDY = GenerationOptions(max_tokens=24, repetition_penalty=1.0)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "K"]}},
    "required": ["city", "unit"],
}
WEATHER = Tool("weather", "", json.dumps(SCHEMA))
OFFER = [Message("system", "", tools=(WEATHER,)), Message("user", "hi")]


async def said(
    session: NativeBrainSession, messages: Sequence[Message], stop_after: int | None = None
) -> tuple[str, Finished | None]:
    text = ""
    async with aclosing(session.generate(messages, GREEDY)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Finished):
                return text, piece
            assert isinstance(piece, str)
            text += piece
            if stop_after is not None and len(text) >= stop_after:
                break
    return text, None


words = st.text("abc <|im_end|>é🎉", max_size=12)
steps = st.one_of(
    st.tuples(st.sampled_from(["prefill", "cancelled", "ask", "ask again", "cut short"]), words),
    st.tuples(st.just("heard"), st.integers(0, 20)),
    st.tuples(st.just("take back"), st.just(None)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=10), words)
async def test_any_history_of_calls_equals_a_fresh_session(
    script: list[tuple[str, object]], last: str
) -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()
    messages = [SYSTEM]
    for step, value in script:
        match step, value:
            case "prefill", str(text):
                await session.prefill(messages, text)
            case "cancelled", str(text):
                task = asyncio.create_task(session.prefill(messages, text))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
            case "ask", str(text):
                messages.append(Message("user", text))
                messages.append(Message("assistant", (await said(session, messages))[0]))
            case "ask again", str(text):  # the answer is thrown away, as a speculation may be
                await said(session, [*messages, Message("user", text)], stop_after=5)
            case "cut short", str(text):
                messages.append(Message("user", text))
                messages.append(Message("assistant", (await said(session, messages, 4))[0]))
            case "heard", int(characters):
                messages = [
                    replace(m, text=m.text[:characters]) if m.role == "assistant" else m
                    for m in messages
                ]
            case _:
                del messages[max(1, len(messages) - 2) :]
        assert engine.open <= 1
    messages.append(Message("user", last))
    fresh = open_brain(FakeEngine()).open()
    used_text, used = await said(session, messages)
    fresh_text, new = await said(fresh, messages)
    assert used_text == fresh_text
    assert used is not None
    assert new is not None
    assert (used.input_tokens, used.output_tokens) == (new.input_tokens, new.output_tokens)
    assert 0 == new.cached_tokens <= used.cached_tokens <= used.input_tokens
    await asyncio.gather(session.close(), fresh.close())
    assert engine.open == 0


async def test_what_is_agreed_on_goes_ahead_and_only_the_rest_is_left() -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()
    question = "so I was thinking that we could go to the market on Saturday"
    heard = [question[:n] for n in range(10, len(question), 10)]
    await session.prefill([SYSTEM], "")
    for text in heard:
        await session.prefill([SYSTEM], text)
    before = engine.computed
    text, counts = await said(session, [SYSTEM, Message("user", question)])
    assert counts is not None
    left = counts.input_tokens - counts.cached_tokens
    assert left <= 20 + len("<|im_end|>\n<|im_start|>assistant\n")  # two partials, and the end
    assert engine.computed - before == left + len(text.encode()) + (counts.reason == "stop") - 1
    assert engine.most_open == 1
    assert len(engine.chunks) == len(heard) + 1  # one of them brought nothing new, one is the end
    await session.close()


async def test_words_that_change_cost_their_blocks_once() -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()
    for text in ("I want to go", "I want to go to a", "I want to go to a"):
        await session.prefill([SYSTEM], text)
    held = len(session._log.entries)
    before = engine.computed
    for _ in range(2):
        await session.prefill([SYSTEM], "I want two go to a")
    assert engine.open == 1
    assert engine.computed - before <= len("go go to a") + BLOCK
    assert len(session._log.entries) == held + len("w")
    await session.close()


async def test_cancelling_an_answer_ends_its_request_at_once() -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()
    await said(session, [SYSTEM, Message("user", "hi")], stop_after=1)
    assert engine.open == 0
    made = engine.made
    await asyncio.sleep(0.01)
    assert engine.made == made < 24
    await session.close()


@pytest.mark.parametrize("mode", ["before", "think_first", "speak_first"])
async def test_thoughts_grow_in_one_request_and_speech_is_a_fork(mode: Thinking) -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()
    options = replace(GREEDY, think_tokens=24, thinking=mode)
    talk = [SYSTEM, Message("user", "hello")]
    await session.prefill(talk)
    pieces = await answer(session, talk, options)
    assert len(thought(pieces)) > 10
    assert spoken(pieces)
    assert engine.most_open == 2
    again = await answer(open_brain(FakeEngine()).open(), talk, options)
    assert (spoken(again), thought(again)) == (spoken(pieces), thought(pieces))
    prompt = finished(pieces).input_tokens
    # Thoughts are never computed twice: each step of speech finds them in the cache.
    assert engine.computed < prompt + 24 * 2 + (24 + 20 + BLOCK) * 8
    await session.close()
    assert engine.open == 0


@pytest.mark.parametrize(
    "wish",
    [
        'Sure. <tool_call>\n{"name": "bogus", "arguments": 5',
        '{"name": "weather", "arguments": {"city": "Paris", "unit": "F"}}',
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Berlin on the Spree", "x": 1}}',
    ],
)
async def test_calls_are_kept_to_their_schema(wish: str) -> None:
    session = open_brain(FakeEngine(wish)).open()
    text = spoken(await answer(session, OFFER, replace(GREEDY, max_tokens=200)))
    call = json.loads(text[text.index("{") :].removesuffix("</tool_call>").strip())
    assert call["name"] == "weather"
    jsonschema.validate(call["arguments"], SCHEMA)
    await session.close()


async def test_a_call_that_is_allowed_is_never_stopped() -> None:
    wish = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "unit": "K"}}\n'
    engine = FakeEngine(wish)
    session = open_brain(engine).open()
    options = replace(GREEDY, max_tokens=200, calls=CallRule(many=False))
    assert spoken(await answer(session, OFFER, options)) == wish
    assert len(engine.chunks) == 1
    await session.close()


async def test_an_answer_that_has_to_be_spoken_is() -> None:
    session = open_brain(FakeEngine("{weather}")).open()
    options = replace(GREEDY, calls=CallRule(may=False))
    text = spoken(await answer(session, OFFER, options))
    assert text.strip()
    assert not set("{}") & set(text)
    await session.close()


async def test_what_was_said_in_this_answer_is_penalised() -> None:
    talk = [SYSTEM, Message("user", "hi")]
    plain = spoken(await answer(open_brain(FakeEngine()).open(), talk))
    hard = replace(GREEDY, repetition_penalty=9.0, max_tokens=6)
    penalised = spoken(await answer(open_brain(FakeEngine()).open(), talk, hard))
    assert len(set(plain)) < len(plain)
    assert len(set(penalised)) == len(penalised)


@pytest.mark.parametrize(("capacity_tokens", "places"), [(400, 256), (0, 4)])
async def test_calls_that_wait_give_way_when_they_hold_half_of_the_engine(
    capacity_tokens: int, places: int
) -> None:
    engine = FakeEngine(capacity_tokens=capacity_tokens, places=places)
    brain = open_brain(engine)
    sessions = [brain.open() for _ in range(4)]
    for session in sessions:
        await session.prefill([SYSTEM], "a turn that is as long as sixty letters, about")
        await session.prefill([SYSTEM], "a turn that is as long as sixty letters, about")
    assert engine.open == 2
    assert not sessions[0]._log.entries
    assert sessions[3]._log.entries
    text, _ = await said(sessions[0], [SYSTEM, Message("user", "hi")])
    fresh, _ = await said(open_brain(FakeEngine()).open(), [SYSTEM, Message("user", "hi")])
    assert text == fresh
    await asyncio.gather(*(session.close() for session in sessions))


def test_latents_stand_between_ids_as_they_were_heard() -> None:
    names, rows = LatentNames(), torch.arange(10.0).reshape(5, 2)
    first, rest = names.name(rows[:2]), names.name(rows[2:])
    sound = LatentSound((*first.ids, *rest.ids), (first, rest))
    chunk = Chunk([7, *first.ids, rest.ids[0], 8, *rest.ids[1:]], AHEAD, [sound])
    ids, latents = chunk.with_placeholders(99)
    assert ids == [7, 99, 99, 99, 8, 99, 99]
    assert [run.tolist() for run in latents] == [rows[:3].tolist(), rows[3:].tolist()]


async def test_a_failing_model_leaves_a_usable_session() -> None:
    engine = FakeEngine()
    session = open_brain(engine).open()

    def fail() -> None:
        raise MemoryError

    engine.fails = fail
    talk = [SYSTEM, Message("user", "hi")]
    with pytest.raises(BrainError, match="model failed"):
        await session.prefill(talk)
    with pytest.raises(BrainError, match="model failed"):
        await said(session, talk)
    engine.fails = lambda: None
    text, _ = await said(session, talk)
    assert text == (await said(open_brain(FakeEngine()).open(), talk))[0]
    await session.close()


async def test_a_dead_engine_is_said_at_once() -> None:
    engine = FakeEngine()
    brain = open_brain(engine)
    session = brain.open()
    assert brain.is_alive
    engine.is_alive = False
    assert not brain.is_alive
    for _ in range(2):
        with pytest.raises(BrainError, match="engine died"):
            await said(session, [SYSTEM, Message("user", "hi")])
    await session.close()
