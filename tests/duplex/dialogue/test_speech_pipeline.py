"""A reply that is paused and resumed, at any moment and from any place that was sent."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.dialogue.delivery import Delivery
from duplex.dialogue.reply_parts import ReplyAudio, UnheardRest
from duplex.dialogue.reply_state import AllSent, BargedIn, Phase, Released, ReplyState, Resumed
from duplex.dialogue.speech_pipeline import SpeechPipeline, VoiceSetup
from duplex.metrics import TurnMarks
from duplex.testing.engine import Script, ScriptedSession
from duplex.testing.steps import TimedSteps
from duplex.testing.virtual_time import virtual
from duplex.testing.voice import ScriptedVoice
from engine.types import GenerationOptions, Speech
from tts.types import SpokenWord

TEXT = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 5))
WHOLE = "".join(piece.text for piece in TEXT)
RATE = 8_000


@dataclass
class Item:
    """What was delivered of one item."""

    samples: list[float] = field(default_factory=list)
    words: list[SpokenWord] = field(default_factory=list)


class Listener:
    """Keeps what a reply delivers, item by item."""

    def __init__(self, lead_s: float, rest: UnheardRest | None = None) -> None:
        clock = asyncio.get_running_loop().time
        setup = VoiceSetup(ScriptedVoice(), TimedSteps(), RATE, 1.0, lead_s)
        self.items = [Item()]
        audio = rest.audio if rest else ()
        self.marks = TurnMarks(clock, 0.0)
        self.state = ReplyState()
        self.delivery = Delivery(self.state, self.marks, clock, RATE, audio)
        self.pipeline = SpeechPipeline(setup, self.state, self.delivery)
        self.state.move(Released())

    async def deliver(self) -> None:
        """Take all that goes out by now."""
        while (part := await self.delivery.next_part()) is not None:
            assert isinstance(part, ReplyAudio)
            self.items[-1].samples += part.samples.tolist()
            self.items[-1].words += part.words

    async def run(self, text: tuple[Speech, ...] = TEXT) -> None:
        """Make the reply, as often as it is paused and resumed, and deliver all of it."""
        session = ScriptedSession(Script(says=(text,)))
        async with asyncio.TaskGroup() as tasks:
            self.pipeline.start(tasks, session, [], GenerationOptions())
            tasks.create_task(self.deliver())

    def cut(self, late_s: float) -> int:
        """Pause; returns the sample of the item up to which a client, which is so far behind,
        has played it."""
        self.state.move(BargedIn())
        ledger = self.delivery.ledger
        heard = ledger.heard_samples(asyncio.get_running_loop().time())
        return max(0, heard - round(late_s * RATE))

    def resume(self, at: int) -> None:
        """Go on from there with a new item."""
        heard = self.delivery.ledger.text_heard(at)
        item = self.items[-1]
        assert item.samples[at:] or at == len(item.samples)
        item.samples, item.words = item.samples[:at], [SpokenWord(heard, at)]
        self.items.append(Item())
        self.state.move(Resumed())
        self.delivery.reopen(at, self.marks)


def joined(items: list[Item]) -> tuple[list[float], str]:
    """All that was heard."""
    words = "".join(word.text for item in items for word in item.words)
    return [sample for item in items for sample in item.samples], words


def uncut() -> list[float]:
    async def call() -> list[float]:
        listener = Listener(1000.0)
        await listener.run()
        return joined(listener.items)[0]

    return virtual(call())


UNCUT = uncut()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1.0), st.floats(0.0, 0.8)), max_size=5),
    st.sampled_from([0.2, 2.0, 1000.0]),
)
def test_what_was_heard_and_what_is_resumed_are_the_whole(
    cuts: list[tuple[float, float, float]], lead_s: float
) -> None:
    async def call() -> None:
        listener = Listener(lead_s)
        running = asyncio.create_task(listener.run())
        for play_s, paused_s, late_s in cuts:
            await asyncio.sleep(play_s)
            at = listener.cut(late_s)
            delivered = len(listener.items[-1].samples)
            await asyncio.sleep(paused_s)
            assert len(listener.items[-1].samples) == delivered  # nothing goes out meanwhile
            listener.resume(at)
        await running
        await listener.deliver()
        samples, words = joined(listener.items)
        assert words == WHOLE
        assert samples == UNCUT
        for item in listener.items[1:]:
            ends = [word.end_sample for word in item.words]
            assert ends == sorted(ends)

    virtual(call())


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 5.0), st.floats(0.0, 2.0), st.booleans())
def test_the_rest_of_a_reply_that_was_given_up_is_what_was_not_heard(
    play_s: float, late_s: float, again: bool
) -> None:
    async def call() -> None:
        listener = Listener(2.0)
        running = asyncio.create_task(listener.run())
        await asyncio.sleep(play_s)
        heard = ""
        for _ in range(1 + again):  # the rest can be given up too
            at = listener.cut(late_s)
            heard += listener.delivery.ledger.text_heard(at)
            await asyncio.sleep(0.5)  # what was begun is finished
            running.cancel()
            await asyncio.wait([running])
            rest = listener.pipeline.take_rest(at)
            assert rest is not None
            listener = Listener(2.0, rest)
            running = asyncio.create_task(listener.run((Speech(rest.text),)))
            await asyncio.sleep(0.7)
        await running
        assert WHOLE.startswith(heard)
        assert heard + joined(listener.items)[1] == WHOLE[: len(heard)] + rest_of(heard, rest)  # type: ignore[arg-type]
        made = np.abs(listener.items[0].samples)
        assert made.max() > 0.1

    virtual(call())


def rest_of(heard: str, rest: UnheardRest) -> str:
    """The text that follows what was heard, as far as the brain had come."""
    text = "".join(word.text for part in rest.audio for word in part.words) + rest.text
    assert WHOLE[len(heard) :].startswith(text)
    return text


@pytest.mark.parametrize("pause_first", [True, False])
def test_a_pause_at_the_last_moment_is_one(pause_first: bool) -> None:
    async def call() -> None:
        state = ReplyState()
        state.move(Released())
        state.move(AllSent())
        loop = asyncio.get_running_loop()
        at = loop.time() + 1.0
        if pause_first:
            loop.call_at(at, state.move, BargedIn())
        waiting = asyncio.create_task(state.leaves(Phase.DELIVERED, within_s=1.0))
        await asyncio.sleep(0)
        if not pause_first:
            loop.call_at(at, state.move, BargedIn())
        assert await waiting

    virtual(call())


@pytest.mark.parametrize("text", ["😀", "```\nx = 1\n```", "..."])
def test_an_answer_in_which_nothing_can_be_said_is_not_silent(text: str) -> None:
    async def call() -> None:
        listener = Listener(1000.0)
        await listener.run((Speech(text),))
        samples, words = joined(listener.items)
        assert words == text
        assert len(samples) > RATE // 4

    virtual(call())
