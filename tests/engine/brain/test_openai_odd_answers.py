"""No answer of an endpoint ends a call: what can be read of it is used, what cannot fails it."""

import asyncio
import json
import re

import pytest

from engine.brain.interface import BrainError
from engine.brain.openai_compatible import OpenAIBrain
from engine.types import (
    CallArguments,
    CallEnded,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    RawPiece,
    Thought,
)
from tests._support.endpoint import body, chunk, endpoint, events, hello, read_request
from tests._support.odd_answers import CHUNKS, ENDS, LINES, REFUSALS, TOOLS, WHOLES, Kind

TALK = [Message("system", "Be brief."), Message("user", "Hi.")]
KINDS = {
    f"{group}: {name}": kind
    for group, kinds in {
        "chunk": CHUNKS,
        "end": ENDS,
        "whole": WHOLES,
        "lines": LINES,
        "calls": TOOLS,
        "refusal": REFUSALS,
    }.items()
    for name, kind in kinds.items()
}


async def answer(base_url: str, *, timeout_s: float = 30.0) -> list[RawPiece]:
    session = OpenAIBrain(base_url, "a-model", api_key="sk-secret", timeout_s=timeout_s).open()
    try:
        return [piece async for piece in session.generate(TALK, GenerationOptions())]
    finally:
        await session.close()


def calls_in(pieces: list[RawPiece]) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    is_open = False
    for piece in pieces:
        match piece:
            case CallStarted(name):
                assert not is_open
                calls.append((name, ""))
                is_open = True
            case CallArguments(text):
                assert is_open
                calls[-1] = (calls[-1][0], calls[-1][1] + text)
            case CallEnded():
                is_open = False
    return calls


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
async def test_an_odd_answer(kind: Kind) -> None:
    async with endpoint(kind.reply, *filter(None, [kind.after])) as served:
        if kind.error:
            with pytest.raises(BrainError, match=kind.error):
                await answer(served.base_url)
            return
        pieces = await answer(served.base_url)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == kind.text
    assert "".join(p.text for p in pieces if isinstance(p, Thought)) == kind.thought
    assert calls_in(pieces) == [*kind.calls]
    (finished,) = (piece for piece in pieces if isinstance(piece, Finished))
    assert finished.reason == kind.reason
    assert pieces[-1] is finished


async def test_pieces_come_before_the_stream_is_over() -> None:
    go_on = asyncio.Event()

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await body(f"data: {chunk({'content': 'Hello'})}\n\n".encode(), cut=True)(_, writer)
        await go_on.wait()

    async with endpoint(reply) as served:
        session = OpenAIBrain(served.base_url, "a-model").open()
        pieces = session.generate(TALK, GenerationOptions())
        assert await anext(pieces) == "Hello"
        go_on.set()
        await pieces.aclose()
        await session.close()


@pytest.mark.realtime
async def test_comments_keep_an_answer_alive_for_longer_than_its_timeout_but_not_for_ever() -> None:
    def slow(comments: int) -> object:
        async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await body(b": wait\n\n", cut=True)(_, writer)
            for _i in range(comments):
                await asyncio.sleep(0.1)
                writer.write(b"8\r\n: wait\n\n\r\n")
            data = "".join(f"data: {data}\n\n" for data in hello()).encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n")

        return reply

    async with endpoint(slow(6), slow(100)) as served:  # type: ignore[arg-type]
        pieces = await answer(served.base_url, timeout_s=0.4)
        assert pieces[:-1] == ["Hello ", "you."]
        with pytest.raises(BrainError, match="in time"):
            await answer(served.base_url, timeout_s=0.4)


@pytest.mark.realtime
async def test_an_answer_that_is_over_does_not_wait_for_the_end_of_its_stream() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await body(*(f"data: {data}\n\n".encode() for data in hello()), cut=True)(reader, writer)
        await reader.read()

    async with endpoint(reply) as served:
        async with asyncio.timeout(20):
            pieces = await answer(served.base_url)
    assert pieces == ["Hello ", "you.", Finished("stop", 0, 0, 0)]


async def test_a_message_does_not_quote_the_key() -> None:
    error = json.dumps({"error": {"message": "Incorrect API key provided: sk-secret."}})
    async with endpoint(events(error)) as served:
        with pytest.raises(BrainError, match=re.escape("Incorrect API key provided: ***.")):
            await answer(served.base_url)
        assert served.requests[0].headers["authorization"] == "Bearer sk-secret"


async def test_a_call_keeps_its_connection_until_the_endpoint_closes_it() -> None:
    asked: list[int] = []  # of each connection
    left = asyncio.Event()
    data = "".join(f"data: {data}\n\n" for data in (*hello(), "[DONE]")).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        try:
            while asked[-1] < 2:  # then it is closed between turns, as servers do
                await read_request(reader)
                asked[-1] += 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n")
        except asyncio.IncompleteReadError:
            left.set()  # the call is over
        finally:
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        session = OpenAIBrain(f"http://127.0.0.1:{port}/v1", "a-model").open()
        for _ in range(3):
            pieces = [piece async for piece in session.generate(TALK, GenerationOptions())]
            assert pieces[:-1] == ["Hello ", "you."]
        await session.close()
        await asyncio.wait_for(left.wait(), 90)
        await asyncio.sleep(0.01)
    assert asked == [2, 1]
