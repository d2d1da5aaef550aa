"""What OpenAI-compatible endpoints were seen, or may be expected, to answer, and what is to become
of it: a table of kinds, each put between ordinary chunks."""

import json
from dataclasses import dataclass
from typing import Any

from tests._support.endpoint import Reply, body, chunk, events, hello, status

HELLO = "Hello you."
DEAR = "Hello dear you."
Calls = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """An answer of an endpoint. It either fails with an ``error`` (a pattern), or gives the rest.
    ``after`` is what the endpoint answers when asked again."""

    reply: Reply
    text: str = HELLO
    thought: str = ""
    calls: Calls = ()
    reason: str = "stop"
    error: str = ""
    after: Reply | None = None


def _between(value: Any, **wanted: Any) -> Kind:
    return Kind(events(*hello(value if isinstance(value, str) else json.dumps(value))), **wanted)


def _delta(delta: Any, **wanted: Any) -> Kind:
    return _between(chunk(delta), **wanted)


def _choices(choices: Any, **wanted: Any) -> Kind:
    return _between({"id": "x", "choices": choices}, **wanted)


def _calls(*lists: Any, finish: Any = "tool_calls", **wanted: Any) -> Kind:
    data = [chunk({"tool_calls": calls}) for calls in lists]
    return Kind(events(*data, chunk({}, finish)), **{"text": "", **wanted})


def _call(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {
        **fields,
        "function": {key: value for key, value in function.items() if value is not None},
    }


def _whole(value: Any, kind: str = "application/json", **wanted: Any) -> Kind:
    text = value if isinstance(value, str) else json.dumps(value)
    return Kind(body(text.encode(), kind=kind), **wanted)


def _raw(*pieces: bytes, **wanted: Any) -> Kind:
    return Kind(body(*pieces), **wanted)


def _lines(end: str, *, space: str = " ", blank: str | None = None) -> bytes:
    blank = end if blank is None else blank
    return "".join(f"data:{space}{data}{end}{blank}" for data in (*hello(), "[DONE]")).encode()


_USAGE: dict[str, Any] = {"choices": [], "usage": {"total_tokens": 12}}
_MESSAGE = {"role": "assistant", "content": HELLO}
_PRETTY = "".join(
    "".join(f"data: {line}\n" for line in json.dumps(json.loads(data), indent=1).split("\n")) + "\n"
    for data in hello()
).encode()
_SMILE = chunk({"content": "Hello 🙂 you."}, "stop").encode()
_UTF8 = f"data: {json.dumps(json.loads(_SMILE), ensure_ascii=False)}\n\n".encode()
_ERROR = {"error": {"message": "out of memory", "type": "server_error", "code": 500}}

CHUNKS = {
    "choices null": _between({"choices": None}),
    "no choices field": _between({"id": "x", "object": "chat.completion.chunk"}),
    "choices empty": _choices([]),
    "choices a number": _choices(5, error="choices that cannot be read"),
    "choices one object": _choices({"delta": {"content": "dear "}}, text=DEAR),
    "a choice null": _choices([None]),
    "a choice a string": _choices(["x"], error="choice that cannot be read"),
    "data null": _between("null"),
    "data empty": _between(""),
    "data empty object": _between({}),
    "data a number": _between("5", error="chunk that cannot be read: 5"),
    "data a string": _between('"oops"', error="chunk that cannot be read: oops"),
    "data a list of chunks": _between([json.loads(chunk({"content": "dear "}))], text=DEAR),
    "data a list of numbers": _between("[1, 2]", error="chunk that cannot be read: 1"),
    "data broken JSON": _between('{"choices": [{"delta": {"con', error="no JSON"),
    "data plain words": _between("upstream timed out", error="no JSON: upstream timed out"),
    "data too deep": _between('{"choices":' + "[" * 100_000, error="no JSON"),
    "data a ping": _between("[PING]"),
    "data written twice": Kind(events(*(f"data: {data}" for data in hello()))),
    "delta null": _choices([{"index": 0, "delta": None, "finish_reason": None}]),
    "delta missing": _choices([{"index": 0}]),
    "delta a string": _choices([{"index": 0, "delta": "dear "}], text=DEAR),
    "delta a number": _choices([{"index": 0, "delta": 7}], error="delta that cannot be read"),
    "message for delta": _choices([{"message": {"content": "dear "}}], text=DEAR),
    "index a string": _choices([{"index": "0", "delta": {"content": "dear "}}], text=DEAR),
    "a second choice": _choices([{"index": 1, "delta": {"content": "Bye "}}]),
    "content null": _delta({"content": None}),
    "content a list of parts": _delta(
        {"content": [{"type": "text", "text": "dear "}, {"type": "image_url"}]}, text=DEAR
    ),
    "content one part": _delta({"content": {"type": "text", "text": "dear "}}, text=DEAR),
    "content a number": _delta({"content": 4}, text="Hello 4you."),
    "content true": _delta({"content": True}, error="content that cannot be read"),
    "content parts that think": _delta(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        thought="Hm.",
    ),
    "half an emoji in each chunk": Kind(
        events(
            '{"choices": [{"delta": {"content": "Hello \\ud83d"}}]}',
            '{"choices": [{"delta": {"content": "\\ude42 you."}}]}',
        ),
        text="Hello 🙂 you.",
    ),
    "half an emoji alone": Kind(
        events('{"choices": [{"delta": {"content": "Hello you.\\ud83d"}}]}'),
        text="Hello you.\ufffd",
    ),
    "refusal": _delta({"content": None, "refusal": "No, "}, text="Hello No, you."),
    "reasoning_content": _delta({"reasoning_content": "Hm."}, thought="Hm."),
    "reasoning": _delta({"reasoning": "Hm.", "content": None}, thought="Hm."),
    "reasoning an object": _delta({"reasoning": {"effort": "low"}}),
    "unknown fields": _between(chunk({"mood": ["x"]}, x_y={"z": None}, obfuscation="aB")),
    "usage null": _between({"choices": [], "usage": None}),
    "usage without its counts": _between(_USAGE),
    "usage of nulls": _between(
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}}
    ),
    "usage of strings": _between(
        {"choices": [], "usage": {"prompt_tokens": "9", "completion_tokens": "x"}}
    ),
    "usage a list": _between({"choices": [], "usage": [1]}),
    "usage infinite": _between('{"choices": [], "usage": {"prompt_tokens": Infinity}}'),
    "usage details a string": _between(
        {"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": "none"}}
    ),
    "error null": _between(chunk({}, error=None)),
    "error in the stream": _between(_ERROR, error="out of memory"),
    "error in a choice": _choices(
        [{"error": {"message": "gone"}, "finish_reason": "error"}], error="gone"
    ),
    "error a string": _between({"error": "overloaded"}, error="overloaded"),
    "error of vLLM": _between(
        {"object": "error", "message": "too long", "code": 400}, error="too long"
    ),
    "error event": _raw(b'event: error\ndata: {"message": "gone"}\n\n', error="gone"),
}

ENDS = {
    "no finish_reason": Kind(events(*hello(finish=None))),
    "no finish_reason and no [DONE]": Kind(events(*hello(finish=None), done=False)),
    "no [DONE]": Kind(events(*hello(), done=False)),
    "an unknown finish_reason": Kind(events(*hello(finish="eos"))),
    "finish_reason a number": Kind(events(*hello(finish=1))),
    "finish_reason length": Kind(events(*hello(finish="length")), reason="length"),
    "finish_reason MAX_TOKENS": Kind(events(*hello(finish="MAX_TOKENS")), reason="length"),
    "finish_reason content_filter": Kind(
        events(*hello(finish="content_filter")), reason="content_filter"
    ),
    "finish_reason error": Kind(events(*hello(finish="error")), error="in the middle"),
    "nothing but [DONE]": Kind(events(), text=""),
    "no body": _raw(error="nothing that can be read"),
    "cut after the finish_reason": Kind(
        body(*(f"data: {data}\n\n".encode() for data in hello()), cut=True)
    ),
    "cut amid the stream": Kind(
        body(*(f"data: {data}\n\n".encode() for data in hello()[:2]), cut=True), error="failed"
    ),
}

WHOLES = {
    "stream ignored": _whole({"object": "chat.completion", "choices": [{"message": _MESSAGE}]}),
    "stream ignored, length": _whole(
        {"choices": [{"message": _MESSAGE, "finish_reason": "length"}]}, reason="length"
    ),
    "stream ignored, called a stream": _whole(
        {"choices": [{"message": _MESSAGE}]}, "text/event-stream"
    ),
    "stream ignored, a call": _whole(
        {"choices": [{"message": {"content": None, "tool_calls": [_call("f", "{}", id="a")]}}]},
        text="",
        calls=(("f", "{}"),),
    ),
    "no content type": _whole({"choices": [{"message": _MESSAGE}]}, ""),
    "lines of JSON": _whole("\n".join(hello()), "application/x-ndjson"),
    "text of a completion": _whole({"choices": [{"text": HELLO}]}),
    "an error as an answer": _whole(_ERROR, error="out of memory"),
    "other JSON": _whole({"ok": True}, error="nothing that can be read"),
    "a web page": _whole(
        "<html><head><title>Sign in</title></head></html>", "text/html", error="web page: Sign in"
    ),
    "events as plain text": Kind(body(_lines("\n"), kind="text/plain")),
}

LINES = {
    "comments": _raw(b": OPENROUTER PROCESSING\n\n", _lines("\n"), b": bye\n\n"),
    "CRLF": _raw(_lines("\r\n")),
    "CRLF cut in two": _raw(*(bytes([b]) for b in _lines("\r\n"))),
    "CR only": _raw(_lines("\r")),
    "retry, event and id lines": _raw(
        b"retry: 100\nevent: message\nid: 7\n\nid: 8\n", _lines("\n")
    ),
    "data over several lines": _raw(_PRETTY),
    "no blank lines": _raw(_lines("\n", blank="")),
    "no blank line at the end": _raw(_lines("\n").removesuffix(b"\n\n")),
    "byte order mark": _raw(b"\xef", b"\xbb\xbf" + _lines("\n")),
    "no space after data:": _raw(_lines("\n", space="")),
    "bytes split amid a letter": _raw(*(bytes([b]) for b in _UTF8), text="Hello 🙂 you."),
    "not UTF-8": _raw(
        b'data: {"choices": [{"delta": {"content": "Hello \xff you."}}]}\n\n',
        text="Hello \ufffd you.",
    ),
}

TWO: Calls = (("f", '{"a": 1}'), ("g", '{"b": 2}'))
TOOLS = {
    "without index": _calls(
        [_call("f", "", id="c1")],
        [_call(None, '{"a": 1}', id="c1")],
        [_call("g", "", id="c2")],
        [_call(None, '{"b": 2}', id="c2")],
        calls=TWO,
    ),
    "without index, whole": _calls(
        [_call("f", '{"a": 1}', id="c1")], [_call("g", '{"b": 2}', id="c2")], calls=TWO
    ),
    "all with index 0": _calls(
        [_call("f", '{"a"', id="c1", index=0)],
        [_call("g", '{"b"', id="c2", index=0)],
        [_call(None, ": 1}", id="c1", index=0)],
        [_call(None, ": 2}", id="c2", index=0)],
        calls=TWO,
    ),
    "index 0, no ids, whole": _calls(
        [_call("f", '{"a": 1}', index=0)], [_call("g", '{"b": 2}', index=0)], calls=TWO
    ),
    "the same call twice": _calls(
        [_call("f", '{"a": 1}', index=0)], [_call("f", '{"a": 1}', index=0)], calls=(TWO[0], TWO[0])
    ),
    "without ids": _calls(
        [_call("f", "", index=0)],
        [_call(None, '{"a": 1}', index=0)],
        [_call("g", "", index=1)],
        [_call(None, '{"b": 2}', index=1)],
        calls=TWO,
    ),
    "without ids and index": _calls(
        [_call("f")], [_call(None, '{"a": 1}')], [_call("g")], [_call(None, '{"b": 2}')], calls=TWO
    ),
    "in one list, without ids and index": _calls(
        [_call("f"), _call("g")], [_call(None, '{"a": 1}'), _call(None, '{"b": 2}')], calls=TWO
    ),
    "interleaved": _calls(
        [_call("f", "", id="c1", index=0)],
        [_call("g", "", id="c2", index=1)],
        [_call(None, '{"a"', index=0)],
        [_call(None, '{"b"', index=1)],
        [_call(None, ": 1}", index=0)],
        [_call(None, ": 2}", index=1)],
        calls=TWO,
    ),
    "an id for each piece": _calls(
        [_call("f", "", id="x1", index=0)],
        [_call(None, '{"a"', id="x2", index=0)],
        [_call(None, ": 1}", id="x3", index=0)],
        calls=TWO[:1],
    ),
    "the name in each piece": _calls(
        [_call("f", '{"a"', index=0)], [_call("f", ": 1}", index=0)], calls=TWO[:1]
    ),
    "one id for all": _calls(
        [_call("f", '{"a": 1}', id="call", index=0)],
        [_call("g", '{"b": 2}', id="call", index=1)],
        calls=TWO,
    ),
    "empty ids": _calls(
        [_call("f", '{"a": 1}', id="", index=0)],
        [_call("g", '{"b": 2}', id="", index=1)],
        calls=TWO,
    ),
    "the name after the id": _calls(
        [{"id": "c1", "index": 0, "function": None}],
        [_call("f", '{"a": 1}', id="c1", index=0)],
        calls=TWO[:1],
    ),
    "index a string": _calls(
        [_call("f", '{"a": 1}', index="0")], [_call("g", '{"b": 2}', index="1")], calls=TWO
    ),
    "arguments an object": _calls([_call("f", {"a": 1}, id="c1")], calls=TWO[:1]),
    "arguments null": _calls(
        [{"id": "c1", "function": {"name": "f", "arguments": None}}], calls=(("f", ""),)
    ),
    "not a list": _calls(_call("f", '{"a": 1}', id="c1"), calls=TWO[:1]),
    "null in the list": _calls([None, _call("f", '{"a": 1}', id="c1")], calls=TWO[:1]),
    "flat": _calls([{"id": "c1", "name": "f", "arguments": '{"a": 1}'}], calls=TWO[:1]),
    "function_call": Kind(
        events(
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"a": 1}'}}),
            chunk({}, "function_call"),
        ),
        text="",
        calls=TWO[:1],
    ),
    "no finish_reason": _calls([_call("f", '{"a": 1}', id="c1")], finish=None, calls=TWO[:1]),
    "finish_reason stop": _calls([_call("f", '{"a": 1}', id="c1")], finish="stop", calls=TWO[:1]),
    "no function": _calls([{"id": "c1", "index": 0, "function": None}], error="does not name"),
    "function a string": _calls(
        [{"id": "c1", "function": "f"}], error="function that cannot be read"
    ),
    "a call a string": _calls(["f"], error="call of a function that cannot be read"),
    "announced and not made": Kind(
        events(chunk({"content": "x"}), chunk({}, "tool_calls")), error="does not say which"
    ),
    "cut at the limit": _calls(
        [_call("f", '{"a": 1}', id="c1"), _call("g", '{"b"', id="c2")],
        finish="length",
        reason="length",
        calls=(TWO[0], ("g", '{"b"')),
    ),
}

_GOOD = events(*hello())
REFUSALS = {
    "429, again at once": Kind(status(429, Retry_After="0"), after=_GOOD),
    "429 without Retry-After": Kind(status(429), after=_GOOD),
    "503 for a second": Kind(status(503, Retry_After="1"), after=_GOOD),
    "500": Kind(status(500), after=_GOOD),
    "429 for a minute": Kind(
        status(429, Retry_After="60"), error="429 .*again in 60 s", after=_GOOD
    ),
    "429 until a date": Kind(
        status(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), error="429", after=_GOOD
    ),
    "429 until a date that has passed": Kind(
        status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), after=_GOOD
    ),
    "quota used up": Kind(
        status(429, '{"error": {"message": "Quota.", "code": "insufficient_quota"}}'),
        error="429 .*Quota.",
        after=_GOOD,
    ),
    "503 for ever": Kind(status(503, "busy", "text/plain"), error="503 .*busy"),
    "400 of OpenAI": Kind(
        status(400, '{"error": {"message": "No such model.", "type": "x"}}'),
        error="400 .*No such model.",
        after=_GOOD,
    ),
    "422 of FastAPI": Kind(
        status(422, '{"detail": [{"loc": ["body", "top_p"], "msg": "too big"}]}'),
        error=r"422 .*too big \(body.top_p\)",
    ),
    "404 with a detail": Kind(status(404, '{"detail": "Not Found"}'), error="404 .*Not Found"),
    "400 in plain text": Kind(status(400, "bad\n\nthing", "text/plain"), error="400 .*bad thing"),
    "502 in HTML": Kind(
        status(502, "<html><title>Bad Gateway</title><p>x", "text/html"), error="502 .*Bad Gateway"
    ),
    "401 without a body": Kind(status(401), error="401"),
    "500 with broken JSON": Kind(status(500, '{"error": '), error='500 .*{"error":'),
    "a page elsewhere": Kind(status(302, Location="/login"), error="404|moved", after=status(404)),
}
