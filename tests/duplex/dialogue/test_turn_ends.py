"""How complete a turn sounds, in a whole call in virtual time."""

import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual


@dataclass
class Ear:
    """Says ``completeness`` after a while."""

    completeness_is: float | None
    takes_s: float = 0.1
    heard: list[int] = field(default_factory=list)  # samples
    is_closed: bool = False

    async def completeness(self, samples: NDArray[np.float32]) -> float | None:
        self.heard.append(len(samples))
        await asyncio.sleep(self.takes_s)
        return self.completeness_is

    def close(self) -> None:
        self.is_closed = True


async def silence_to_end_s(ear: Ear | None, words: str = "Is it noon?") -> float:
    caller = Caller(Script(hears=(words,)))
    caller.parts = replace(caller.parts, end_ear=ear)
    async with caller:
        await caller.speak(1.0)
        began = asyncio.get_running_loop().time()
        await caller.pause(2.0)
        (index,) = [
            index
            for index, event in enumerate(caller.events)
            if event["type"] == "input_audio_buffer.committed"
        ]
        return caller.times_s[index] - began


def test_a_turn_that_sounds_complete_ends_sooner_than_one_that_does_not() -> None:
    sure, plain, unsure = (virtual(silence_to_end_s(ear)) for ear in (Ear(1.0), None, Ear(0.1)))
    assert sure + 0.05 < plain + 0.05 < unsure < 1.0


@pytest.mark.parametrize("ear", [Ear(None), Ear(1.0, takes_s=30.0)])
def test_without_an_answer_the_words_decide(ear: Ear) -> None:
    assert virtual(silence_to_end_s(ear)) == virtual(silence_to_end_s(None))
    assert len(ear.heard) == 1


def test_the_sound_is_that_of_the_turn_up_to_the_pause() -> None:
    ear = Ear(1.0)
    virtual(silence_to_end_s(ear))
    (samples,) = ear.heard
    assert 16_000 <= samples <= 1.5 * 16_000  # with the padding before it


def test_it_is_closed_with_the_other_models() -> None:
    ear = Ear(1.0)
    replace(Caller().parts, end_ear=ear).close()
    assert ear.is_closed


@pytest.mark.parametrize("ear", [Ear(None), Ear(1.0, takes_s=0.6)])
def test_a_few_words_are_waited_for_although_the_sound_is_judged_late(ear: Ear) -> None:
    told = virtual(silence_to_end_s(ear, "We need two tickets."))
    assert told == pytest.approx(1.0, abs=0.05)
    assert virtual(silence_to_end_s(None, "We need two tickets.")) < 0.4


async def answer_to_end_s(words: str, reply: str) -> float:
    """The silence that ends a turn of ``words`` which follows the ``reply``."""
    caller = Caller(Script(hears=("What time is it?", words), says=(reply,)))
    caller.parts = replace(caller.parts, end_ear=Ear(1.0))
    async with caller:
        await caller.speak(1.0)
        await caller.pause(4.0)
        await caller.speak(1.0)
        began = caller.now_s
        await caller.pause(3.0)
    committed = "input_audio_buffer.committed"
    times = zip(caller.events, caller.times_s, strict=True)
    return [at_s for event, at_s in times if event["type"] == committed][1] - began


def test_a_word_that_answers_the_assistant_ends_a_turn_sooner_than_one_that_does_not() -> None:
    asked = virtual(answer_to_end_s("Montreal", "It is ten. Which city are you in?"))
    told = virtual(answer_to_end_s("Montreal", "It is ten in the city that you are in."))
    assert asked < 0.4
    assert told > 0.9
