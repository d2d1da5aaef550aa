"""The OpenAI-compatible brain against a real HTTP server on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.brain.interface import BrainError
from engine.brain.openai_compatible import OpenAIBrain
from engine.errors import ContextExceeded
from engine.types import (
    CallArguments,
    CallEnded,
    CallRule,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tests._support.endpoint import Reply, Request
from tests._support.endpoint import endpoint as serving

pytestmark = pytest.mark.realtime

TALK = [Message("system", "Be brief."), Message("user", "Hi.")]


@asynccontextmanager
async def endpoint(
    reply: Reply, **options: Any
) -> AsyncIterator[tuple[OpenAIBrain, list[Request]]]:
    """A brain before a server that answers with ``reply``, and what the server was asked."""
    async with serving(reply) as served:
        brain = OpenAIBrain(served.base_url, "a-model", **options)
        yield brain, served.requests
        brain.close()


def start(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")


def send(writer: asyncio.StreamWriter, data: str) -> None:
    body = f"data: {data}\n\n".encode()
    writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")


def delta(writer: asyncio.StreamWriter, finish: str | None = None, **fields: str) -> None:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    send(writer, json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0,
                             "model": "m", "choices": [choice]}))  # fmt: skip


def end(writer: asyncio.StreamWriter, usage: dict[str, Any] | None = None) -> None:
    if usage is not None:
        send(writer, json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0,
                                 "model": "m", "choices": [], "usage": usage}))  # fmt: skip
    send(writer, "[DONE]")
    writer.write(b"0\r\n\r\n")


async def answer(brain: OpenAIBrain, talk: list[Message] = TALK) -> list[Piece]:
    session = brain.open()
    await session.prefill(talk, "nothing happens")
    pieces = session.generate(talk, GenerationOptions(max_tokens=9))
    try:
        return [piece async for piece in pieces]  # type: ignore[misc]
    finally:
        await session.close()


async def test_an_answer_with_usage() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, role="assistant", content="")
        delta(writer, content="Hello ")
        delta(writer, content="you.")
        delta(writer, finish="stop")
        end(writer, {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24,
                     "prompt_tokens_details": {"cached_tokens": 16}})  # fmt: skip

    async with endpoint(reply) as (brain, requests):
        assert await answer(brain) == ["Hello ", "you.", Finished("stop", 20, 16, 4)]
    assert requests[0].json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi."},
    ]
    assert requests[0].json["model"] == "a-model"
    assert requests[0].json["max_tokens"] == 9
    assert requests[0].json["stream"] is True


async def test_no_usage_counts_nothing_and_length_is_told() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="Hello")
        delta(writer, finish="length")
        end(writer)

    async with endpoint(reply) as (brain, _):
        assert await answer(brain) == ["Hello", Finished("length", 0, 0, 0)]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_on_its_own_channel_comes_as_a_thought(name: str) -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, **{name: "let me "})
        delta(writer, **{name: "what </think> and <think> mean"})
        delta(writer, content="Four.")
        delta(writer, finish="stop")
        end(writer)

    async with endpoint(reply) as (brain, _):
        pieces = await answer(brain)
    assert pieces[:-1] == [Thought("let me "), Thought("what </think> and <think> mean"), "Four."]


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    brain = OpenAIBrain(f"http://127.0.0.1:{port}/v1", "a-model")
    with pytest.raises(BrainError, match="connection"):
        await answer(brain)
    brain.close()


async def test_an_endpoint_that_stalls() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="Hel")
        await reader.read()

    async with endpoint(reply, timeout_s=0.05) as (brain, _):
        with pytest.raises(BrainError, match="in time"):
            await answer(brain)


async def test_closing_the_answer_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="Hel")
        await writer.drain()
        await reader.read()  # returns when the client has gone
        closed.set()

    async with endpoint(reply) as (brain, _):
        pieces = brain.open().generate(TALK, GenerationOptions())
        assert await anext(pieces) == "Hel"
        await pieces.aclose()
        await asyncio.wait_for(closed.wait(), 90)


async def test_old_turns_are_dropped() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="ok", finish="stop")
        end(writer)

    talk = [TALK[0]]
    for turn in range(20):
        talk += [Message("user", f"{turn} {'x' * 60}"), Message("assistant", "y" * 60)]
    talk.append(Message("user", "last"))
    async with endpoint(reply, context_tokens=400) as (brain, requests):
        await answer(brain, talk)
    sent = requests[0].json["messages"]
    assert sent[0]["role"] == "system"
    assert sent[1]["role"] == "user"
    assert sent[-1]["content"] == "last"
    assert 3 < len(sent) < 20


async def test_a_message_too_long_for_the_context() -> None:
    brain = OpenAIBrain("http://127.0.0.1:1/v1", "a-model", context_tokens=400)
    with pytest.raises(ContextExceeded, match="leaves room for 300"):
        await answer(brain, [TALK[0], Message("user", "x" * 3000)])
    brain.close()


def call_delta(writer: asyncio.StreamWriter, index: int, finish: str | None = None,
               **function: str) -> None:  # fmt: skip
    call: dict[str, Any] = {"index": index, "function": function}
    if "name" in function:
        call |= {"id": f"theirs_{index}", "type": "function"}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": finish}
    send(writer, json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0,
                             "model": "m", "choices": [choice]}))  # fmt: skip


CLOCK = Tool("clock", "The time.", '{"type": "object"}')
WITH_CLOCK = [Message("system", "Be brief.", tools=(CLOCK,)), Message("user", "Time?")]


async def test_calls_come_as_they_are_made() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="Let me see.")
        call_delta(writer, 0, name="clock", arguments="")
        call_delta(writer, 0, arguments='{"zone":')
        call_delta(writer, 0, arguments=' "utc"}')
        call_delta(writer, 1, name="clock", arguments="{}")
        delta(writer, finish="tool_calls")
        end(writer)

    async with endpoint(reply) as (brain, requests):
        assert await answer(brain, WITH_CLOCK) == [
            "Let me see.",
            CallStarted("clock"),
            CallArguments('{"zone":'),
            CallArguments(' "utc"}'),
            CallEnded(),
            CallStarted("clock"),
            CallArguments("{}"),
            CallEnded(),
            Finished("stop", 0, 0, 0),
        ]
    assert requests[0].json["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "clock",
                "description": "The time.",
                "parameters": {"type": "object"},
            },
        }
    ]
    assert requests[0].json["tool_choice"] == "auto"
    assert "parallel_tool_calls" not in requests[0].json


async def test_a_call_that_was_cut_is_not_ended() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        call_delta(writer, 0, name="clock", arguments='{"zo')
        delta(writer, finish="length")
        end(writer)

    async with endpoint(reply) as (brain, _):
        pieces = await answer(brain, WITH_CLOCK)
    assert pieces == [CallStarted("clock"), CallArguments('{"zo'), Finished("length", 0, 0, 0)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (CallRule(must=True), {"tool_choice": "required"}),
        (
            CallRule(must=True, name="clock", many=False),
            {
                "tool_choice": {"type": "function", "function": {"name": "clock"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
async def test_what_is_asked_of_calls(rule: CallRule, expected: dict[str, Any]) -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="ok", finish="stop")
        end(writer)

    async with endpoint(reply) as (brain, requests):
        options = GenerationOptions(calls=rule)
        _ = [piece async for piece in brain.open().generate(WITH_CLOCK, options)]
        _ = [piece async for piece in brain.open().generate(TALK, options)]
    assert {key: requests[0].json[key] for key in expected} == expected
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(requests[1].json)


async def test_each_call_is_followed_at_once_by_what_it_gave() -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start(writer)
        delta(writer, content="ok", finish="stop")
        end(writer)

    calls = (ToolCall("clock", "{}", "c1"), ToolCall("clock", '{"zone": "utc"}', "c2"))
    talk = [
        *WITH_CLOCK,
        Message("assistant", "", calls=calls),
        Message("tool", "", results=(ToolResult("clock", "ten", "c1"),)),
        Message("user", "And?"),
        Message("tool", "", results=(ToolResult("clock", "eleven", "c2"),)),
    ]
    async with endpoint(reply) as (brain, requests):
        await answer(brain, talk)
    made, first, second, user, late = requests[0].json["messages"][2:]
    assert made["content"] is None
    assert [call["id"] for call in made["tool_calls"]] == ["c1", "c2"]
    assert made["tool_calls"][1]["function"] == {"name": "clock", "arguments": '{"zone": "utc"}'}
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "ten"}
    assert second["tool_call_id"] == "c2"
    assert "no result yet" in second["content"]
    assert user == {"role": "user", "content": "And?"}
    assert late == {"role": "system", "content": "clock has returned: eleven"}
