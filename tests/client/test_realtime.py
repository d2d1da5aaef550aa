"""Opening a call: addresses, refusals, what is told in words."""

import asyncio
import json
from http import HTTPStatus

import pytest

from client.realtime import (
    ClientError,
    ConnectionLost,
    Refused,
    SessionOptions,
    Unreachable,
    connect,
    error_text,
    realtime_url,
    safe_url,
)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:8765", "ws://127.0.0.1:8765/v1/realtime"),
        ("http://h:1/", "ws://h:1/v1/realtime"),
        ("https://h", "wss://h/v1/realtime"),
        ("ws://h:1/v1/realtime?model=x", "ws://h:1/v1/realtime?model=x"),
        ("wss://h/other", "wss://h/other"),
    ],
)
def test_addresses_are_completed(typed, url):
    assert realtime_url(typed) == url


def test_the_model_goes_into_the_query():
    assert realtime_url("h:1", "a b") == "ws://h:1/v1/realtime?model=a+b"


@pytest.mark.parametrize("typed", ["ftp://h/x", "ws:///v1", ""])
def test_what_is_no_address_is_said_so(typed):
    with pytest.raises(Unreachable, match="is not a WebSocket address"):
        realtime_url(typed)


def test_the_session_asks_for_no_more_than_it_was_given():
    session = SessionOptions(transcription_model=None).update()["session"]
    audio_format = {"type": "audio/pcm", "rate": 24000}
    assert session == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": {"format": audio_format}, "output": {"format": audio_format}},
    }
    full = SessionOptions("be kind", "joe", {"type": "server_vad"}, "w", True, True)
    session = full.update()["session"]
    assert session["instructions"] == "be kind"
    assert session["audio"]["output"]["voice"] == "joe"
    assert session["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert session["audio"]["input"]["transcription"] == {"model": "w"}
    assert session["duplex"] == {"metrics": True, "thoughts": True}


def opened(lab, handler, process_request=None, key=None):
    async def scenario():
        async with lab.listening(handler, process_request) as url:
            client = await connect(url, key=key, timeout_s=5)
            try:
                return await client.receive()
            finally:
                await client.close()

    return lab.run(scenario())


async def end_of_call(websocket):
    await websocket.wait_closed()


def test_no_server(lab):
    async def scenario():
        async with lab.listening(end_of_call) as url:
            pass
        await connect(url)

    with pytest.raises(Unreachable, match=r"no server at ws://127\.0\.0\.1.*duplex serve"):
        lab.run(scenario())


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (HTTPStatus.SERVICE_UNAVAILABLE, Refused, "is full: no line free"),
        (HTTPStatus.UNAUTHORIZED, Refused, "does not let you in: no line free .*DUPLEX_API_KEY"),
        (HTTPStatus.FORBIDDEN, Refused, r"does not let you in: no line free \(HTTP 403\)$"),
        (HTTPStatus.NOT_FOUND, Unreachable, "does not answer as a Realtime server"),
    ],
)
def test_refusals_in_the_handshake(lab, status, kind, words):
    def refuse(connection, request):
        return connection.respond(status, "no line free")

    with pytest.raises(kind, match=words):
        opened(lab, end_of_call, refuse)


def test_a_refusal_in_json_is_told_in_its_words(lab):
    def refuse(connection, request):
        error = {"message": "Incorrect API key.", "code": "invalid_api_key"}
        return connection.respond(HTTPStatus.UNAUTHORIZED, json.dumps({"error": error}))

    with pytest.raises(Refused, match=r"in: Incorrect API key\. \(invalid_api_key\) \(HTTP 401\)"):
        opened(lab, end_of_call, refuse)


def test_refusal_by_close_code(lab):
    async def handler(websocket):
        await websocket.close(1013, "all lines are busy")

    with pytest.raises(Refused, match="all lines are busy"):
        opened(lab, handler)


def test_refusal_by_error_event(lab):
    async def handler(websocket):
        error = {"message": "too many calls", "code": "server_full"}
        await websocket.send(json.dumps({"type": "error", "error": error}))
        await websocket.wait_closed()

    with pytest.raises(Refused, match=r"too many calls \(server_full\)"):
        opened(lab, handler)


def test_a_server_that_says_nothing(lab):
    with pytest.raises(Unreachable, match="opened no session within 5 s"):
        opened(lab, end_of_call)


def test_a_server_of_another_kind(lab):
    async def handler(websocket):
        await websocket.send('{"type": "hello"}')
        await websocket.wait_closed()

    with pytest.raises(Unreachable, match=r"'hello' instead of session\.created"):
        opened(lab, handler)


@pytest.mark.parametrize("message", ["{", "[]", b"\x00"])
def test_what_is_no_event_ends_the_call(lab, message):
    async def handler(websocket):
        await websocket.send('{"type": "session.created"}')
        await websocket.send(message)
        await websocket.wait_closed()

    with pytest.raises(ConnectionLost, match="the server sent"):
        opened(lab, handler)


def test_the_key_is_a_bearer_header(lab):
    seen = []

    async def handler(websocket):
        seen.append(websocket.request.headers.get("Authorization"))
        seen.append(websocket.subprotocol)
        await websocket.send('{"type": "session.created"}')
        await websocket.send('{"type": "other"}')
        await websocket.wait_closed()

    assert opened(lab, handler, key="secret").event == {"type": "other"}
    assert seen == ["Bearer secret", "realtime"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("wss://user:SECRET@h:1/v1/realtime?api-key=SECRET#SECRET", "wss://h:1/v1/realtime"),
        ("user:SECRET@h:1", "h:1"),
        ("ws://[::1]:8/x", "ws://[::1]:8/x"),
        ("ws://[broken?key=SECRET", "ws://[broken"),
        ("", ""),
    ],
)
def test_an_address_is_told_without_what_is_secret(url, told):
    assert safe_url(url) == told


@pytest.mark.parametrize(
    "typed", ["ftp://u:SECRET@h/x?k=SECRET", "ws://[broken?key=SECRET", "ws://h:SECRET/?k=SECRET"]
)
def test_no_address_is_told_without_what_is_secret(typed):
    async def scenario():
        await connect(realtime_url(typed))

    with pytest.raises(Unreachable) as caught:
        asyncio.run(scenario())
    assert "k=SECRET" not in str(caught.value)
    assert "u:SECRET" not in str(caught.value)


def test_a_server_that_cannot_be_called_is_told_without_the_key(lab):
    async def silent(websocket):
        await websocket.wait_closed()

    def refuse(connection, request):
        return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you?")

    async def scenario(process_request, handler):
        async with lab.listening(handler, process_request) as url:
            await connect(f"{url}?api-key=SECRET", timeout_s=5)

    async def busy(websocket):
        await websocket.close(1013)

    for case in ((refuse, silent), (None, silent), (None, busy)):
        with pytest.raises(ClientError) as caught:
            lab.run(scenario(*case))
        assert str(caught.value).startswith("ws://127.0.0.1:")
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"error": "boom"}, "boom"),
        ({"error": {"message": "m", "code": "c"}}, "m (c)"),
        ({"error": None}, "the server reported an error without a message"),
        ({"error": ["x"]}, "the server reported an error without a message"),
    ],
)
def test_an_error_of_any_shape_has_words(event, words):
    assert error_text(event) == words
