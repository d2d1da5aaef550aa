"""A caller asks for the rest of an answer that was interrupted, or that came to its limit."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from duplex.config import Config, ServerConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import (
    CallArguments,
    CallEnded,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    Speech,
)
from tts.types import AudioChunk, SpokenWord

STORY = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 9))  # 1.5 s each
WHOLE = "".join(piece.text for piece in STORY)
SURE = (Speech("Sure, take your time."),)
LONG = (Speech("Well, that is another story, and it would take me quite a while to tell it all."),)


async def hear(caller: Caller, done: int) -> None:
    """Listen until so many responses are done and played."""
    while len(caller.all("response.done")) < done:
        await caller.pause(0.1)
    await caller.pause(2.0)


def words(caller: Caller, index: int) -> str:
    """The transcript that was told of a response."""
    (item,) = caller.all("response.done")[index]["response"]["output"]
    text: str = item["content"][0]["transcript"]
    return text


async def kept(caller: Caller, index: int) -> str:
    """The transcript of a response's item as the conversation holds it."""
    (item,) = caller.all("response.done")[index]["response"]["output"]
    caller.send("conversation.item.retrieve", item_id=item["id"])
    await caller.pause(0.02)
    part = caller.all("conversation.item.retrieved")[-1]["item"]["content"][0]
    text: str = part["transcript"]
    return text


async def interrupted_story(caller: Caller) -> None:
    """Ask for the story, hear some of it, and say something else over it."""
    await caller.speak(1.0)
    await caller.pause(3.0)
    await caller.speak(0.6)
    await hear(caller, 2)


def limit(caller: Caller) -> None:
    """Let all answers come to their limit."""
    session = caller.engine.sessions[0]
    respond = session.respond

    async def limited(
        history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        async for piece in respond(history, options):
            yield Finished("length", 1, 1, 1) if isinstance(piece, Finished) else piece

    session.respond = limited  # type: ignore[method-assign]


def test_the_rest_of_an_interrupted_answer_is_told_for_the_asking() -> None:
    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Sorry, go on."), (STORY, SURE, LONG))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            assert words(caller, 1) == SURE[0].text
            await caller.speak(0.6)
            await hear(caller, 3)
            assert await kept(caller, 0) + words(caller, 2) == WHOLE
            assert len(caller.engine.sessions[0].histories) == 2  # the model was not asked for it

    virtual(call())


def test_the_rest_can_be_interrupted_and_asked_for_again() -> None:
    async def call() -> None:
        script = Script(
            ("A story!", "Hold on a moment.", "Go on.", "Wait a moment.", "Please continue."),
            (STORY, SURE),
        )
        async with Caller(script) as caller:
            await interrupted_story(caller)
            await caller.speak(0.6)
            await caller.pause(2.5)
            await caller.speak(0.6)
            await hear(caller, 4)
            await caller.speak(0.6)
            await hear(caller, 5)
            told = await kept(caller, 0) + await kept(caller, 2) + words(caller, 4)
            assert told == WHOLE
            assert await kept(caller, 2)

    virtual(call())


def test_whoever_interrupts_only_to_say_go_on_hears_it_at_once() -> None:
    async def call() -> None:
        async with Caller(Script(("A story!", "No, please go on."), (STORY,))) as caller:
            await interrupted_story(caller)
            first, second = (e["response"] for e in caller.all("response.created"))
            assert second["metadata"] == {"duplex_resumes": first["id"]}
            await hear(caller, 2)
            assert await kept(caller, 0) + words(caller, 1) == WHOLE

    virtual(call())


def test_after_another_answer_the_model_is_asked_what_go_on_means() -> None:
    async def call() -> None:
        script = Script(("A story!", "What about tea?", "Go on."), (STORY, LONG, SURE))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            await caller.pause(4.0)  # the answer about tea was heard
            await caller.speak(0.6)
            await hear(caller, 3)
            assert words(caller, 2) == SURE[0].text

    virtual(call())


def test_the_rest_is_forgotten_after_a_while() -> None:
    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Go on."), (STORY, SURE, LONG))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            await caller.pause(31.0)
            await caller.speak(0.6)
            await hear(caller, 3)
            assert words(caller, 2) == LONG[0].text

    virtual(call())


@pytest.mark.parametrize(("audio_s", "wall_s"), [(31.0, 4.0), (0.0, 40.0)])
def test_the_rest_is_forgotten_by_the_audio_of_the_call_and_not_by_the_clock(
    audio_s: float, wall_s: float
) -> None:
    """A recorded call decides the same when it is replayed faster, or with a break in it."""

    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Go on."), (STORY, SURE, LONG))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            if audio_s:
                caller.append(audio_s, level=0.0)
            await asyncio.sleep(wall_s)
            await caller.speak(0.6)
            await hear(caller, 3)
            is_forgotten = words(caller, 2) == LONG[0].text
            assert is_forgotten == (audio_s > 30)
            assert is_forgotten or WHOLE.endswith(words(caller, 2))

    virtual(call())


def test_a_pause_in_asking_for_the_rest_does_not_lose_it() -> None:
    async def call() -> None:
        hears = ("A story!", "Hold on a moment.", "Go on.", "Go on, please.")
        async with Caller(Script(hears, (STORY, SURE, LONG))) as caller:
            await interrupted_story(caller)
            await caller.speak(0.4)
            await caller.pause(0.2)  # the rest is made ahead, and not let out
            await caller.speak(0.3)
            await hear(caller, 3)
            assert await kept(caller, 0) + words(caller, 2) == WHOLE

    virtual(call())


def test_an_answer_that_came_to_its_limit_is_gone_on_with_by_the_model() -> None:
    async def call() -> None:
        async with Caller(Script(("A story!", "Go on."), (STORY[:2], STORY[2:]))) as caller:
            limit(caller)
            await caller.speak(1.0)
            await hear(caller, 1)
            done = caller.all("response.done")[0]["response"]
            assert done["status_details"]["reason"] == "max_output_tokens"
            await caller.pause(2.0)
            await caller.speak(0.6)
            await hear(caller, 2)
        *before, note = caller.heard_by_brain[1]
        assert before[-2:] == [
            ("assistant", "".join(piece.text for piece in STORY[:2])),
            ("user", "Go on."),
        ]
        assert note[0] == "system"
        assert note[1].startswith("Your last answer was cut short.")

    virtual(call())


def test_an_answer_that_has_called_a_function_is_cut_for_good() -> None:
    async def call() -> None:
        clock: dict[str, Any] = {"type": "function", "name": "clock", "parameters": {}}
        calls = (Speech("Let me look at the clock on the wall. "), CallStarted("clock"))
        answer = (*calls, CallArguments("{}"), CallEnded())
        config = Config(server=ServerConfig(playout_lead_s=1000.0))
        async with Caller(Script(("What time is it?", "Mm-hm."), (answer,)), config) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [clock]})
            await caller.speak(1.0)
            await caller.pause(1.0)
            assert caller.all("response.function_call_arguments.done")
            await caller.speak(0.3)
            await caller.pause(3.0)
            assert all(
                e["response"].get("metadata") is None for e in caller.all("response.created")
            )

    virtual(call())


def test_the_rest_of_an_answer_that_was_still_being_made_ends_with_a_sentence() -> None:
    async def call() -> None:
        endless = tuple(Speech(f"This is sentence number {n}. And on") for n in range(200))
        script = Script(("A story!", "Hold on a moment.", "Go on.", "Go on."), (endless, SURE))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            await caller.speak(0.6)
            await hear(caller, 3)
            told = await kept(caller, 0) + words(caller, 2)
            assert "".join(piece.text for piece in endless).startswith(told)
            assert told.endswith(". ")
            response = caller.all("response.done")[2]["response"]
            assert response["status_details"]["reason"] == "max_output_tokens"
            await caller.speak(0.6)
            await hear(caller, 4)
        assert caller.heard_by_brain[-1][-1][0] == "system"  # and then the model is told to go on

    virtual(call())


def test_the_rest_is_not_told_in_a_form_that_the_client_no_longer_wants() -> None:
    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Go on."), (STORY, SURE, LONG))
        async with Caller(script) as caller:
            await interrupted_story(caller)
            session = {"type": "realtime", "output_modalities": ["text"]}
            caller.send("session.update", session=session)
            await caller.speak(0.6)
            await hear(caller, 3)
            (item,) = caller.all("response.done")[2]["response"]["output"]
            assert item["content"][0]["text"] == LONG[0].text

    virtual(call())


@pytest.mark.parametrize("heard_s", [0.5, 1.0, 2.0])  # over it, over its last word, after it
def test_go_on_over_an_aside_is_about_what_was_interrupted(heard_s: float) -> None:
    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Sorry, go on."), (STORY, SURE, LONG))
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(3.0)
            await caller.speak(0.6)
            while len(caller.all("response.created")) < 2:
                await caller.pause(0.02)
            await caller.pause(heard_s)
            await caller.speak(0.5)
            await hear(caller, 3)
            assert await kept(caller, 0) + words(caller, 2) == WHOLE

    virtual(call())


def test_go_on_over_the_last_word_of_an_answer_is_for_the_model() -> None:
    async def call() -> None:
        async with Caller(Script(("A story!", "Go on."), (STORY, LONG))) as caller:
            await caller.speak(1.0)
            await caller.pause(0.4)
            spoken_s = len(WHOLE) * 0.06
            first_s = caller.time_of("response.output_audio.delta")
            await caller.pause(first_s + spoken_s - 0.25 - caller.now_s)
            await caller.speak(0.5)
            await hear(caller, 2)
            assert words(caller, 1) == LONG[0].text
            assert caller.all("conversation.item.truncated")  # it was said over the answer

    virtual(call())


def test_go_on_over_the_last_word_before_the_limit_is_told_to_the_model() -> None:
    async def call() -> None:
        async with Caller(Script(("A story!", "Go on."), (STORY[:2], STORY[2:]))) as caller:
            limit(caller)
            await caller.speak(1.0)
            await caller.pause(0.4)
            first_s = caller.time_of("response.output_audio.delta")
            spoken_s = sum(len(piece.text) for piece in STORY[:2]) * 0.06
            await caller.pause(first_s + spoken_s - 0.25 - caller.now_s)
            await caller.speak(0.5)
            await hear(caller, 2)
            assert words(caller, 1) == "".join(piece.text for piece in STORY[2:])
        assert caller.heard_by_brain[1][-1][0] == "system"

    virtual(call())


def test_a_rest_that_was_told_is_not_told_again() -> None:
    async def call() -> None:
        script = Script(("A story!", "Hold on a moment.", "Go on."), (STORY[:2], SURE, LONG))
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(2.0)
            await caller.speak(0.6)
            await hear(caller, 2)
            await caller.speak(0.6)
            await hear(caller, 3)
            rest = words(caller, 2)
            assert 3 <= len(rest.split()) <= 12
            await caller.pause(2.0)
            await caller.speak(0.6)
            await hear(caller, 4)
            assert words(caller, 3) == LONG[0].text

    virtual(call())


def test_an_answer_that_was_to_end_with_a_call_is_for_the_model_to_go_on_with() -> None:
    async def call() -> None:
        clock: dict[str, Any] = {"type": "function", "name": "clock", "parameters": {}}
        answer = (*STORY, CallStarted("clock"), CallArguments("{}"), CallEnded())
        script = Script(("A story!", "Hold on a moment.", "Go on."), (answer, SURE, LONG))  # type: ignore[arg-type]
        async with Caller(script) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [clock]})
            await caller.speak(1.0)
            await caller.pause(8.0)  # the brain has called, the voice has not come so far
            assert not caller.all("response.function_call_arguments.done")
            await caller.speak(0.6)
            await hear(caller, 2)
            await caller.speak(0.6)
            await hear(caller, 3)
            assert words(caller, 2) == LONG[0].text

    virtual(call())


class CodesVoice:
    """Speaks 40 ms for each code, and the text beside it as one word."""

    sample_rate = 24_000
    takes_codes = True
    _end = 0

    def open(self, speed: float = 1.0) -> "CodesVoice":
        return CodesVoice()

    def feed(self, text: str, codes: tuple[int, ...] = ()) -> Iterator[AudioChunk]:
        samples = len(codes) * 960
        self._end += samples
        yield AudioChunk(np.full(samples, 0.3, np.float32), (SpokenWord(text, self._end),))

    def finish(self) -> Iterator[AudioChunk]:
        yield from ()


def test_a_rest_in_codes_that_were_not_spoken_yet_is_not_whole() -> None:
    async def call() -> None:
        story = tuple(Speech(f"word{n} ", (1,) * 4) for n in range(80))
        sure = (Speech("Sure. ", (1,) * 8),)
        caller = Caller(Script(("A story!", "Hold on a moment.", "Go on."), (story, sure)))
        caller.parts = replace(caller.parts, voice=CodesVoice())  # type: ignore[arg-type]
        async with caller:
            await interrupted_story(caller)
            await caller.speak(0.6)
            await hear(caller, 3)
            told = await kept(caller, 0) + words(caller, 2)
            whole = "".join(piece.text for piece in story)
            assert whole.startswith(told)
            assert len(told) < len(whole)
            details = caller.all("response.done")[2]["response"]["status_details"]
            assert details["reason"] == "max_output_tokens"

    virtual(call())
