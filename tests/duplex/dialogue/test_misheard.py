"""Nobody is left in silence, in virtual time: turns that were not understood, and brains that have
nothing to say."""

from dataclasses import replace

import pytest

from duplex.config import Config, DialogueConfig
from duplex.dialogue.misheard import FALLBACK, NOT_UNDERSTOOD
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import CallArguments, CallEnded, CallStarted, Speech, Thought

ONCE, AGAIN = "Sorry, I did not catch that.", "I still did not catch that."
MUMBLE = Script(hears=("",), is_unclear=True)
TWO = Config(dialogue=DialogueConfig(not_understood=(ONCE, AGAIN)))
NO_ANSWER = Config(dialogue=DialogueConfig(no_answer="I have no answer."))


async def turns(caller: Caller, count: int) -> None:
    for _ in range(count):
        await caller.speak(1.0)
        await caller.pause(6.0)


def test_who_was_not_understood_is_told_so_in_a_response_like_any_other() -> None:
    async def call() -> None:
        async with Caller(replace(MUMBLE, hears=("", "What time is it?"))) as caller:
            await turns(caller, 1)
            response = caller.one("response.done")["response"]
            assert response["status"] == "completed"
            assert response["metadata"] == {FALLBACK: NOT_UNDERSTOOD}
            (item,) = response["output"]
            assert item["content"][0]["transcript"] == ONCE
            assert caller.all("response.output_audio.delta")
            assert caller.heard_by_brain == []
            caller.send("conversation.item.retrieve", item_id=item["id"])
            await turns(caller, 1)
            kept = caller.one("conversation.item.retrieved")["item"]
            assert kept["content"][0]["transcript"] == ONCE
            assert caller.heard_by_brain[0][1:] == [
                ("user", "(unintelligible)"),
                ("assistant", ONCE),
                ("user", "What time is it?"),
            ]

    virtual(call())


def test_noise_is_not_answered() -> None:
    async def call() -> None:
        async with Caller(Script(hears=("",))) as caller:
            await turns(caller, 2)
            assert caller.all("input_audio_buffer.committed")
            assert caller.responses == []

    virtual(call())


def test_several_turns_in_a_row_are_answered_in_other_words_and_not_for_ever() -> None:
    hears = ("", "", "", "", "", "What time is it?", "")

    async def call() -> None:
        async with Caller(replace(MUMBLE, hears=hears), TWO) as caller:
            await turns(caller, 5)
            third = "It is ten. Time for tea."  # of the brain, which was given a note
            assert caller.heard == [ONCE, AGAIN, third]
            ((*_, note),) = caller.heard_by_brain
            assert note[0] == "system"
            assert "offer what you can do" in note[1]
            await turns(caller, 2)
            assert caller.heard[-2:] == [third, ONCE]

    virtual(call())


@pytest.mark.parametrize("detection", [None, {"type": "server_vad", "create_response": False}])
def test_a_client_that_asks_for_its_replies_gets_one(detection: object) -> None:
    async def call() -> None:
        async with Caller(MUMBLE) as caller:
            session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
            caller.send("session.update", session=session)
            await turns(caller, 1)
            if detection is None:
                caller.send("input_audio_buffer.commit")
            await caller.pause(1)
            assert caller.responses == []
            caller.send("response.create")
            await caller.pause(5)
            assert caller.heard == [ONCE]
            caller.send("response.create", response={"instructions": "Sing."})
            await caller.pause(5)
            assert caller.heard[1:] == ["It is ten. Time for tea."]

    virtual(call())


@pytest.mark.parametrize("sentences", ["", "Wie bitte?"])
def test_a_client_chooses_the_words_or_none(sentences: str) -> None:
    async def call() -> None:
        async with Caller(MUMBLE) as caller:
            session = {"type": "realtime", "duplex": {"not_understood": sentences}}
            caller.send("session.update", session=session)
            await turns(caller, 1)
            assert caller.heard == ([sentences] if sentences else [])

    virtual(call())


def test_a_caller_who_goes_on_and_is_understood_hears_the_answer_only() -> None:
    async def call() -> None:
        async with Caller(replace(MUMBLE, hears=("", "What time is it?"))) as caller:
            await caller.speak(0.5)
            await caller.pause(0.15)
            await turns(caller, 1)
            assert caller.heard == ["It is ten. Time for tea."]

    virtual(call())


NOTHING = ((), (Speech(" "), Speech("\n")), (Thought("Let me see."),))


@pytest.mark.parametrize("answer", NOTHING)
def test_a_brain_without_words_is_spoken_for_if_that_is_configured(answer: object) -> None:
    script = Script(says=(answer,))  # type: ignore[arg-type]

    async def call(config: Config) -> list[str]:
        async with Caller(script, config) as caller:
            await turns(caller, 1)
            assert caller.last_response.status == "completed"
            return caller.heard

    assert virtual(call(NO_ANSWER)) == ["I have no answer."]
    assert [said.strip() for said in virtual(call(Config()))] == [""]


def test_what_a_brain_says_or_calls_is_left_as_it_is() -> None:
    asks = (CallStarted("look"), CallArguments("{}"), CallEnded())

    async def call() -> None:
        async with Caller(Script(says=((Speech(" "), Speech("Yes.")), asks)), NO_ANSWER) as caller:
            await turns(caller, 2)
            assert caller.heard == [" Yes.", ""]
            assert [item["type"] for item in _output(caller)] == ["function_call"]

    virtual(call())


def _output(caller: Caller) -> list[dict[str, object]]:
    output: list[dict[str, object]] = caller.all("response.done")[-1]["response"]["output"]
    return output
