"""A call is greeted once, when the client begins to send sound, in virtual time."""

from typing import Any

import pytest

from duplex.config import Config, DialogueConfig
from duplex.dialogue.misheard import FALLBACK
from duplex.dialogue.unprompted import GREETING
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual

HELLO = "Hello, how can I help you?"
GREETS = Config(dialogue=DialogueConfig(greeting=HELLO))


async def update(caller: Caller, **session: Any) -> None:
    caller.send("session.update", session={"type": "realtime", **session})


def test_the_first_sound_is_greeted_and_the_brain_knows_it() -> None:
    async def call() -> None:
        async with Caller(Script(), config=GREETS) as caller:
            await caller.pause(6.0)
            response = caller.one("response.done")["response"]
            assert response["metadata"] == {FALLBACK: GREETING}
            assert response["output"][0]["content"][0]["transcript"] == HELLO
            assert caller.all("response.output_audio.delta")
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert caller.heard_by_brain[0][1] == ("assistant", HELLO)
            assert len(caller.all("response.done")) == 2

    virtual(call())


def test_a_caller_who_speaks_into_it_is_listened_to() -> None:
    async def call() -> None:
        long = Config(dialogue=DialogueConfig(greeting="This is sentence number one. " * 10))
        async with Caller(Script(), config=long) as caller:
            await caller.pause(1.5)
            await caller.speak(2.5)
            await caller.pause(3.0)
            greeting, answer = (e["response"] for e in caller.all("response.done"))
            assert greeting["status"] == "cancelled"
            assert answer["status"] == "completed"

    virtual(call())


def test_a_session_says_its_own_or_none() -> None:
    async def call(own: str) -> list[Any]:
        async with Caller(Script(), config=GREETS) as caller:
            await update(caller, duplex={"greeting": own})
            await caller.pause(4.0)
            return [e["response"]["output"][0]["content"][0] for e in caller.all("response.done")]

    assert virtual(call("")) == []
    (said,) = virtual(call("Good evening."))
    assert said["transcript"] == "Good evening."


@pytest.mark.parametrize("how", ["turns of its own", "a conversation that has begun"])
def test_nobody_is_greeted_who_does_not_wait_for_it(how: str) -> None:
    async def call() -> None:
        async with Caller(Script(), config=GREETS) as caller:
            if how == "turns of its own":
                await update(caller, audio={"input": {"turn_detection": None}})
            else:
                part = {"type": "input_text", "text": "Hello."}
                item = {"type": "message", "role": "user", "content": [part]}
                caller.send("conversation.item.create", item=item)
            await caller.pause(4.0)
            assert caller.responses == []

    virtual(call())
