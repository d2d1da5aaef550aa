"""Function calling and responses out of band, from the client's events to the brain and back."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.errors import EngineError
from engine.types import (
    CallArguments,
    CallEnded,
    CallRule,
    CallStarted,
    Message,
    Piece,
    Speech,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TOOL = Tool(
    "get_weather",
    "The weather now.",
    '{"type":"object","properties":{"city":{"type":"string"}}}',
)
CALL = (
    CallStarted("get_weather"),
    CallArguments('{"city": '),
    CallArguments('"Rome"}'),
    CallEnded(),
)
TALK = Script(
    hears=("What is the weather in Rome?",),
    says=((Thought("I have to look. "), *CALL), (Speech("It is sunny in Rome."),)),
)
CHECKING = Script(says=((Speech("Let me check. "), *CALL, *CALL), (Speech("Sunny. Twice."),)))
TEXT = {"output_modalities": ["text"]}


def words(text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


async def settled(caller: Caller, responses: int) -> None:
    """Wait until so many responses have ended."""
    for _ in range(2000):
        if len(caller.all("response.done")) >= responses:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(caller.kinds())


def answer_the_call(caller: Caller, call: dict[str, Any], output: str = "sunny") -> None:
    item = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
    caller.send("conversation.item.create", item=item)


def test_a_spoken_question_is_answered_through_a_function() -> None:
    async def talk() -> Caller:
        async with Caller(TALK) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [WEATHER]})
            await caller.speak(1.0)
            await caller.pause(1.0)
            await settled(caller, 1)
            answer_the_call(caller, caller.one("response.function_call_arguments.done"))
            caller.send("response.create")
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    kinds = caller.kinds()
    start = kinds.index("response.created")
    assert kinds[start : kinds.index("response.done") + 1] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    added = caller.all("response.output_item.added")[0]["item"]
    assert (added["type"], added["status"]) == ("function_call", "in_progress")
    done = caller.one("response.function_call_arguments.done")
    assert done["name"] == "get_weather"
    assert done["arguments"] == '{"city": "Rome"}'
    assert len(done["call_id"]) <= 32
    call = {
        "id": done["item_id"],
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "name": "get_weather",
        "call_id": done["call_id"],
        "arguments": '{"city": "Rome"}',
    }
    first, second = (event["response"] for event in caller.all("response.done"))
    assert first["output"] == [call]
    assert first["status"] == "completed"
    assert first["usage"]["output_tokens"] == len(TALK.says[0])
    assert second["output"][0]["content"][0]["transcript"] == "It is sunny in Rome."
    (session,) = caller.engine.sessions
    asked = Message("user", "What is the weather in Rome?")
    assert session.histories == [
        (Message("system", "Be brief.", tools=(TOOL,)), asked),
        (
            Message("system", "Be brief.", tools=(TOOL,)),
            asked,
            Message(
                "assistant",
                "",
                calls=(ToolCall("get_weather", '{"city": "Rome"}', done["call_id"]),),
            ),
            Message("tool", "", results=(ToolResult("get_weather", "sunny", done["call_id"]),)),
        ),
    ]


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_words_and_two_calls_are_items_of_one_response(modality: str) -> None:
    async def talk() -> Caller:
        async with Caller(CHECKING) as caller:
            caller.send("conversation.item.create", item=words("Rome and Rome?"))
            caller.send(
                "response.create",
                response={"output_modalities": [modality], "tools": [WEATHER]},
            )
            await settled(caller, 1)
            for call in caller.all("response.function_call_arguments.done"):
                answer_the_call(caller, call)
            caller.send("response.create", response=TEXT)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    output = caller.all("response.done")[0]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert [item["status"] for item in output] == ["completed"] * 3
    indexes = [event["output_index"] for event in caller.all("response.output_item.added")[:3]]
    assert indexes == [0, 1, 2]
    items = [event["item"]["id"] for event in caller.all("response.output_item.done")[:3]]
    assert items == [item["id"] for item in output]
    kinds = caller.kinds()
    part_done = kinds.index("response.content_part.done")
    assert part_done < kinds.index("response.function_call_arguments.delta")
    (session,) = caller.engine.sessions
    said, results = session.histories[1][-2:]
    assert said.text.strip() == "Let me check."
    assert [call.call_id for call in said.calls] == [item["call_id"] for item in output[1:]]
    assert [result.call_id for result in results.results] == [c.call_id for c in said.calls]
    assert session.histories[1][0].tools == ()  # they were the first response's own


def test_barge_in_leaves_a_call_incomplete_and_unseen() -> None:
    script = Script(
        says=((*CALL[:2], *(CallArguments(" ") for _ in range(500))), (Speech("Yes."),))
    )

    async def talk() -> Caller:
        async with Caller(script) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [WEATHER]})
            for _ in range(2):
                await caller.speak(1.0)
                await caller.pause(1.0)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    cut = caller.all("response.done")[0]["response"]
    assert cut["status_details"]["reason"] == "turn_detected"
    assert [(item["type"], item["status"]) for item in cut["output"]] == [
        ("function_call", "incomplete")
    ]
    done = caller.kinds().index("response.function_call_arguments.done")
    assert caller.events[done]["arguments"].startswith('{"city": ')
    (session,) = caller.engine.sessions
    assert [message.role for message in session.histories[1]] == ["system", "user", "user"]


def test_barge_in_on_the_words_before_a_call_cuts_them_and_keeps_the_call() -> None:
    said = "Let me look that up for you in the very long list of all the weather that there is."
    script = Script(says=((Speech(said), *CALL), (Speech("Yes?"),)))

    async def talk() -> Caller:
        async with Caller(script) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [WEATHER]})
            await caller.speak(1.0)
            await caller.pause(0.5)
            await settled(caller, 1)
            await caller.speak(1.0)
            await caller.pause(1.0)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    first = caller.all("response.done")[0]["response"]
    assert [item["status"] for item in first["output"]] == ["completed", "completed"]
    cut = caller.one("conversation.item.truncated")
    assert cut["item_id"] == first["output"][0]["id"]
    (session,) = caller.engine.sessions
    heard = session.histories[1][2]
    assert heard.text
    assert said.startswith(heard.text.strip())
    assert len(heard.text) < len(said)
    assert heard.calls[0].name == "get_weather"


def test_a_call_that_cannot_be_obeyed_fails_its_response_only() -> None:
    async def respond(*_: object) -> AsyncGenerator[Piece, None]:
        yield CALL[0]
        yield CALL[1]
        raise EngineError("The call cannot be read.")

    async def talk() -> Caller:
        async with Caller(TALK) as caller:
            (session,) = caller.engine.sessions
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(session, "respond", respond)
                caller.send("response.create", response={**TEXT, "tools": [WEATHER]})
                await settled(caller, 1)
            caller.send("response.create", response=TEXT)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    failed, after = (event["response"] for event in caller.all("response.done"))
    assert failed["status_details"]["error"]["message"] == "The call cannot be read."
    assert [item["status"] for item in failed["output"]] == ["incomplete"]
    assert after["status"] == "completed"
    (session,) = caller.engine.sessions
    assert [message.role for message in session.histories[0]] == ["system"]


def test_what_a_call_gives_may_come_in_a_later_turn() -> None:
    script = Script(says=(CALL, (Speech("One moment."),), (Speech("Sunny."),)))

    async def talk() -> Caller:
        async with Caller(script) as caller:
            caller.send("session.update", session={"type": "realtime", "tools": [WEATHER]})
            caller.send("response.create", response=TEXT)
            await settled(caller, 1)
            caller.send("conversation.item.create", item=words("Are you there?"))
            caller.send("response.create", response=TEXT)
            await settled(caller, 2)
            answer_the_call(caller, caller.one("response.function_call_arguments.done"))
            caller.send("response.create", response=TEXT)
            await settled(caller, 3)
        return caller

    (session,) = virtual(talk()).engine.sessions
    roles = [message.role for message in session.histories[2]]
    assert roles == ["system", "assistant", "user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("choice", "rule", "offered"),
    [
        ("auto", CallRule(chained=False), True),
        ("none", CallRule(chained=False), False),
        ("required", CallRule(must=True, chained=False), True),
        (
            {"type": "function", "name": "get_weather"},
            CallRule(True, "get_weather", many=False, chained=False),
            True,
        ),
    ],
)
def test_tool_choice(choice: Any, rule: CallRule, offered: bool) -> None:
    async def talk() -> Caller:
        async with Caller() as caller:
            session = {"type": "realtime", "tools": [WEATHER], "tool_choice": choice}
            caller.send("session.update", session=session)
            caller.send("response.create", response=TEXT)
            await settled(caller, 1)
            caller.send(
                "response.create", response={**TEXT, "tools": [], "parallel_tool_calls": False}
            )
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    assert caller.one("session.updated")["session"]["tool_choice"] == choice
    (session,) = caller.engine.sessions
    assert session.options[0].calls == rule
    assert session.options[1].calls == CallRule(many=False, chained=False)
    assert [bool(history[0].tools) for history in session.histories] == [offered, False]


def test_out_of_band_beside_an_answer() -> None:
    script = Script(says=(tuple(Speech(f"Sentence {n}. ") for n in range(40)),))

    async def talk() -> Caller:
        async with Caller(script) as caller:
            caller.send("conversation.item.create", item={**words("Talk."), "id": "asked"})
            caller.send("response.create")
            await caller.pause(1.0)
            caller.send(
                "response.create",
                response={
                    **TEXT,
                    "conversation": "none",
                    "instructions": "Classify.",
                    "metadata": {"topic": "x"},
                    "input": [
                        {"type": "item_reference", "id": "asked"},
                        words("Yes.", "assistant"),
                    ],
                },
            )
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    beside, spoken = (event["response"] for event in caller.all("response.done"))
    assert beside["conversation_id"] is None
    assert beside["metadata"] == {"topic": "x"}
    assert beside["status"] == spoken["status"] == "completed"
    item = beside["output"][0]["id"]
    told = [event for event in caller.events if event.get("item", {}).get("id") == item]
    assert {event["type"].split(".")[0] for event in told} == {"response"}
    default, own = caller.engine.sessions
    assert own.closed
    assert own.histories == [
        (Message("system", "Classify."), Message("user", "Talk."), Message("assistant", "Yes."))
    ]
    assert len(default.histories) == 1


def test_out_of_band_speech_is_not_interrupted_and_interrupts_nobody() -> None:
    script = Script(says=(tuple(Speech(f"This is sentence {n}. ") for n in range(4)),))
    ask = {"conversation": "none", "input": [words("Go on.")]}

    async def talk() -> Caller:
        async with Caller(script) as caller:
            caller.send("response.create", response=ask)
            await caller.speak(1.0)
            await caller.pause(1.0)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    first, second = (event["response"] for event in caller.all("response.done"))
    assert first["conversation_id"] is None or second["conversation_id"] is None
    assert first["status"] == second["status"] == "completed"
    assert all(event["output"][0]["content"][0]["transcript"] for event in (first, second))
    assert caller.all("conversation.item.truncated") == []
    roles = [event["item"]["role"] for event in caller.all("conversation.item.added")]
    assert roles == ["user", "assistant"]


def test_out_of_band_answers_are_bounded_cancelled_and_gone_with_the_call() -> None:
    script = Script(says=(tuple(Speech(f"Sentence {n}. ") for n in range(400)),))
    ask = {**TEXT, "conversation": "none", "input": [words("Go on.")]}

    async def talk() -> Caller:
        async with Caller(script) as caller:
            for _ in range(5):
                caller.send("response.create", response=ask)
            await caller.pause(0.5)
            first = caller.all("response.created")[0]["response"]["id"]
            caller.send("response.cancel", response_id=first)
            caller.send("response.cancel", event_id="none", response_id=first)
            caller.send("response.cancel", event_id="default")
            await caller.pause(0.2)
        return caller

    caller = virtual(talk())
    errors = [(e["error"]["code"], e["error"].get("event_id")) for e in caller.all("error")]
    assert errors == [
        ("too_many_active_responses", None),
        ("response_cancel_not_active", "none"),
        ("response_cancel_not_active", "default"),
    ]
    done = caller.one("response.done")["response"]
    assert done["status_details"]["reason"] == "client_cancelled"
    assert len(caller.engine.sessions) == 5
    assert all(session.closed for session in caller.engine.sessions)


def test_input_of_a_response_replaces_the_conversation_and_its_answer_joins_it() -> None:
    async def talk() -> Caller:
        async with Caller() as caller:
            caller.send("conversation.item.create", item=words("Secret."))
            caller.send("response.create", response={**TEXT, "input": [words("What?")]})
            await settled(caller, 1)
        return caller

    caller = virtual(talk())
    assert caller.heard_by_brain == [[("system", "Be brief."), ("user", "What?")]]
    answer = caller.one("response.done")["response"]["output"][0]["id"]
    added = [event["item"]["id"] for event in caller.all("conversation.item.added")]
    assert added[1:] == [answer]


def test_what_cannot_be_obeyed() -> None:
    async def talk() -> Caller:
        async with Caller() as caller:
            item = {"type": "function_call_output", "call_id": "nobody", "output": "x"}
            caller.send("conversation.item.create", item=item)
            reference = {"input": [{"type": "item_reference", "id": "nothing"}]}
            caller.send("response.create", response=reference)
            sound = {"type": "message", "role": "user", "content": [{"type": "input_audio"}]}
            caller.send("response.create", response={"input": [sound]})
            choice = {"tool_choice": {"type": "function", "name": "nothing"}}
            caller.send("response.create", response=choice)
        return caller

    caller = virtual(talk())
    assert [(e["error"]["code"], e["error"]["param"]) for e in caller.all("error")] == [
        ("item_create_invalid_call_id", "item.call_id"),
        ("response_input_invalid_item_id", "response.input[0].id"),
        ("unsupported_content_type", "response.input[0].content[0].transcript"),
        ("invalid_value", "response.tool_choice.name"),
    ]
    assert caller.all("response.created") == []


def test_a_replayed_history_is_shown_in_its_order() -> None:
    """As livekit's plugin does when it connects again."""

    async def talk() -> Caller:
        async with Caller() as caller:
            call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
            output = {"type": "function_call_output", "call_id": "c", "output": "done"}
            previous = "root"
            for number, item in enumerate([words("Do it."), call, output, words("Thanks.")]):
                caller.send(
                    "conversation.item.create",
                    item={**item, "id": f"i{number}"},
                    previous_item_id=previous,
                )
                previous = f"i{number}"
            caller.send("conversation.item.retrieve", item_id="i1")
            caller.send("response.create", response=TEXT)
            await settled(caller, 1)
            caller.send("conversation.item.delete", item_id="i1")
            caller.send("response.create", response=TEXT)
            await settled(caller, 2)
        return caller

    caller = virtual(talk())
    previous = [e["previous_item_id"] for e in caller.all("conversation.item.added")[:4]]
    assert previous == [None, "i0", "i1", "i2"]
    assert caller.one("conversation.item.retrieved")["item"] == {
        "id": "i1",
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "name": "f",
        "call_id": "c",
        "arguments": "{}",
    }
    (session,) = caller.engine.sessions
    assert session.histories[0][1:] == (
        Message("user", "Do it."),
        Message("assistant", "", calls=(ToolCall("f", "{}", "c"),)),
        Message("tool", "", results=(ToolResult("f", "done", "c"),)),
        Message("user", "Thanks."),
    )
    assert [m.role for m in session.histories[1][1:]] == ["user", "user", "assistant"]
