"""The two minds on a model that says what the test has written, to the letter."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.brain.chat_format import Renderer
from engine.errors import ContextExceeded
from engine.native.answer_format import AnswerFormat
from engine.native.brain import NativeBrain
from engine.native.minds import Pace
from engine.native.model.tokens import STEP_CHAT, load_tokenizer
from engine.native.runtime.runner import Runner, StepInput, StepOutput
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Work
from engine.types import GenerationOptions, Message, Thinking
from tests._support.native import answer, finished, spoken, thought
from tests._support.tiny_checkpoint import SPECIAL, VOCABULARY, write_tokenizer
from tests._support.tiny_decoder import SHAPE, tiny_decoder

pytestmark = pytest.mark.torch

EOT = 256 + SPECIAL.index("<|EOT|>")
HELLO = [Message("user", "Hello")]
OPTIONS = GenerationOptions(max_tokens=60, repetition_penalty=1.0)
MODES: list[Thinking] = ["before", "think_first", "speak_first"]


class Actor(Runner):
    """Thinks and speaks from a script, whatever the weights; the cache is kept all the same."""

    thoughts = ""
    speech = ""

    def step(self, feeds: Sequence[StepInput]) -> StepOutput:
        outcome = super().step(feeds)
        if outcome.scores is not None:
            wanting = [feed for feed in feeds if feed.wants_scores]
            outcome.scores = torch.zeros_like(outcome.scores)
            for row, feed in zip(outcome.scores, wanting, strict=True):
                row[self._next(feed.log.entries)] = 9
        return outcome

    def _next(self, entries: Sequence[int]) -> int:
        text = "".join(chr(i) if i < 256 else "·" for i in entries)
        said = text.rpartition("assistant\n")[2]
        if said.startswith("<think>\n") and "</think>" not in said:
            script = self.thoughts + "</think>"
            at = len(said) - len("<think>\n")
        else:
            script, at = self.speech, len(said.rpartition("</think>\n")[2])
        return ord(script[at]) if at < len(script) else EOT


@pytest.fixture
async def actor(tmp_path: Path) -> AsyncIterator[tuple[Actor, NativeBrain]]:
    write_tokenizer(tmp_path)
    decoder = tiny_decoder(replace(SHAPE, vocab=VOCABULARY, max_positions=512))
    runner = Actor(decoder, decoder.open_pool(256))
    renderer = Renderer(load_tokenizer(tmp_path), STEP_CHAT)
    answer_format = AnswerFormat(
        renderer,
        think_open=tuple(renderer.plain("<think>\n")),
        think_close=tuple(renderer.plain("</think>\n")),
        no_thoughts=tuple(renderer.plain("<think>\n\n</think>\n")),
        pace=Pace(thought_tokens=8, speech_tokens=5, speak_margin_s=1.5),
    )
    brain = NativeBrain(Scheduler(runner), renderer, answer_format, context_tokens=512)
    yield runner, brain
    brain.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "thoughts",
    [
        "",
        "short",
        "a < b, so b > a",
        "seven <",
        "1234567<2345678<",
        "</ </t </think </thin>",
        "x" * 40,
    ],
)
async def test_script_is_thought_and_said_to_the_letter(
    actor: tuple[Actor, NativeBrain], mode: Thinking, thoughts: str
) -> None:
    model, brain = actor
    model.thoughts, model.speech = thoughts, "Good day to you."
    session = brain.open()
    pieces = await answer(session, HELLO, replace(OPTIONS, think_tokens=100, thinking=mode))
    assert thought(pieces) == thoughts
    assert spoken(pieces) == "Good day to you."
    done = finished(pieces)
    assert done.reason == "stop"
    assert done.output_tokens == len(thoughts) + len("Good day to you.")
    await session.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("budget", [1, 7, 8, 9, 16, 17])
async def test_thoughts_end_at_their_budget(
    actor: tuple[Actor, NativeBrain], mode: Thinking, budget: int
) -> None:
    model, brain = actor
    model.thoughts, model.speech = "on and on < and on </ and on", "Yes."
    session = brain.open()
    pieces = await answer(session, HELLO, replace(OPTIONS, think_tokens=budget, thinking=mode))
    assert model.thoughts.startswith(thought(pieces))
    assert budget <= len(thought(pieces)) <= budget + 2
    assert spoken(pieces) == "Yes."
    await session.close()


@pytest.mark.parametrize("mode", ["before", "think_first"])
@pytest.mark.parametrize("speech", ["Yes.", "  \n No."])
async def test_a_short_answer_ends_though_the_device_is_faster_than_its_reader(
    actor: tuple[Actor, NativeBrain],
    mode: Thinking,
    speech: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, brain = actor
    model.thoughts, model.speech = "short", speech
    submit, late = brain.scheduler.submit, 0

    def submit_and_stand_still(work: Work) -> None:
        nonlocal late
        submit(work)
        if work.must_say is not None:
            work.done.result(60)
            late += 1

    monkeypatch.setattr(brain.scheduler, "submit", submit_and_stand_still)
    session = brain.open()
    options = replace(OPTIONS, max_tokens=20, think_tokens=100, thinking=mode)
    pieces = await answer(session, HELLO, options)
    assert late == 1
    assert spoken(pieces) == speech
    assert finished(pieces).reason == "stop"
    await session.close()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text("ab<>/think ", max_size=60),
    st.sampled_from(MODES),
    st.integers(1, 70),
    st.sampled_from([0.0, 9.0]),
)
async def test_no_thought_is_ever_spoken(
    actor: tuple[Actor, NativeBrain], thoughts: str, mode: Thinking, budget: int, ahead_s: float
) -> None:
    model, brain = actor
    model.thoughts, model.speech = thoughts, "Good day to you all."
    session = brain.open()
    options = replace(OPTIONS, think_tokens=budget, thinking=mode, speech_ahead_s=lambda: ahead_s)
    pieces = await answer(session, HELLO, options)
    assert spoken(pieces) == "Good day to you all."
    assert thoughts.partition("</think>")[0].startswith(thought(pieces))
    await session.close()


@pytest.mark.parametrize("mode", MODES)
async def test_thoughts_leave_room_for_the_answer(
    actor: tuple[Actor, NativeBrain], mode: Thinking
) -> None:
    model, brain = actor
    model.thoughts, model.speech = "x" * 2000, "Good day to you."
    session = brain.open()
    options = replace(OPTIONS, think_tokens=1000, thinking=mode)
    pieces = await answer(session, [Message("user", "y" * 300)], options)
    assert spoken(pieces) == "Good day to you."
    with pytest.raises(ContextExceeded):
        await answer(session, [Message("user", "y" * 400)], options)
    await session.close()
