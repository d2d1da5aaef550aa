"""Answers are kept to the offered functions and their schemas, whatever the model would write."""

import asyncio
import json
import logging
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest

from engine.brain.call_guard import CallGuard, unpacked
from engine.brain.call_language import MAX_KEPT, CallLanguage
from engine.brain.call_schema import LONGEST_SCHEMA, closed
from engine.brain.chat_format import CHATML, ChatFormat, Renderer
from engine.text.tool_calls import HermesTools
from engine.types import CallRule, Message, Tool
from tests._support.byte_tokens import byte_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "unit": {"enum": ["celsius", "kelvin"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "unit"],
}
WEATHER = Tool("weather", "", json.dumps(SCHEMA))
CLOCK = Tool("clock", "", '{"type": "object", "properties": {}}')
TALK = [Message("system", "", tools=(WEATHER, CLOCK)), Message("user", "hi")]
NO_TOOLS = TALK[1:]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(byte_tokenizer(), CHATML)


async def guard_of(
    renderer: Renderer,
    rule: CallRule,
    talk: list[Message] = TALK,
    begun: str = "",
    max_tokens: int = 1000,
) -> CallGuard:
    parsers = await renderer.call_parsers(talk, rule)
    guard = renderer.call_guard(talk, rule, parsers, max_tokens)
    if begun:
        guard.begin(begun)
    return guard


class Babble:
    """Writes what a guard lets through of ``wish``, then anything, drawn at random."""

    def __init__(self, renderer: Renderer, seed: int) -> None:
        self._renderer = renderer
        self._random = np.random.default_rng(seed)
        self._size = byte_tokenizer().get_vocab_size()

    def write(self, guard: CallGuard, wish: str = "", limit: int = 400) -> tuple[str, bool]:
        """The text, and whether it came to its end."""
        text, reader = "", self._renderer.stream()
        wanted = self._renderer.plain(wish)
        for step in range(limit):
            scores = self._random.random(self._size)
            if step < len(wanted):
                scores[wanted[step]] = 2
            if (bits := guard.mask()) is not None:
                scores[~unpacked(bits, self._size)] = -1
            while guard.refuses(token := int(scores.argmax())):
                scores[token] = -1
            guard.take(token)
            if token in self._renderer.stop_ids:
                return text, True
            text += reader.feed(token)
        return text, False


@pytest.mark.parametrize("seed", range(5))
async def test_a_call_that_is_required_is_one_of_those_offered(
    renderer: Renderer, seed: int
) -> None:
    rule = CallRule(must=True, many=False)
    opening = renderer.call_opening(TALK, rule)
    text, is_over = Babble(renderer, seed).write(await guard_of(renderer, rule, begun=opening))
    assert is_over
    call = json.loads((opening + text).removeprefix("<tool_call>"))
    assert set(call) == {"name", "arguments"}
    schema = {"weather": SCHEMA, "clock": json.loads(CLOCK.parameters)}[call["name"]]
    jsonschema.validate(call["arguments"], schema)
    assert call["arguments"].keys() <= schema["properties"].keys()  # nothing is invented


async def test_a_named_function_is_called(renderer: Renderer) -> None:
    rule = CallRule(must=True, name="clock", many=False)
    opening = renderer.call_opening(TALK, rule)
    guard = await guard_of(renderer, rule, begun=opening)
    assert not guard.may_stop
    assert Babble(renderer, 0).write(guard) == (" {}}\n", True)


@pytest.mark.parametrize(
    ("wish", "before"),
    [
        ('Sure. <tool_call>\n{"name": "bogus", "arguments": 5', "Sure. <tool_call>"),
        ('{"name": "bogus"', ""),
        ('```json\n{\n  "name": "bogus"', "```json\n"),
    ],
)
async def test_a_begun_call_names_an_offered_function(
    renderer: Renderer, wish: str, before: str
) -> None:
    """In the model's own tags, and as bare JSON with a fence or without."""
    text, is_over = Babble(renderer, 1).write(await guard_of(renderer, CallRule(many=False)), wish)
    assert is_over
    assert text.startswith(before)
    call = json.loads(text.removeprefix(before))
    jsonschema.validate(call["arguments"], SCHEMA if call["name"] == "weather" else {})
    assert call["name"] in ("weather", "clock")


async def test_plain_words_are_left_alone(renderer: Renderer) -> None:
    guard = await guard_of(renderer, CallRule())
    for token in renderer.plain("It is <b>5</b> {or} 6, and a < b. <think>a <tool_call> b"):
        assert guard.mask() is None
        assert not guard.refuses(token)
        guard.take(token)
    assert not guard.in_call
    assert guard.may_stop


@pytest.mark.parametrize("talk", [TALK, NO_TOOLS], ids=["offered", "not offered"])
async def test_no_call_is_begun_where_none_may_be(renderer: Renderer, talk: list[Message]) -> None:
    rule = CallRule(may=not talk[0].tools)
    wish = '<tool_call>\n{"name": "clock"'
    text, _ = Babble(renderer, 2).write(await guard_of(renderer, rule, talk), wish, limit=40)
    assert "<tool_call>" not in text


async def test_an_answer_that_has_to_be_spoken_begins_with_a_word(renderer: Renderer) -> None:
    guard = await guard_of(renderer, CallRule(may=False))
    for sign in ("{", "`", '"', ">"):
        assert guard.refuses(renderer.plain(sign)[0])
    assert not guard.refuses(renderer.plain("I")[0])
    guard.take(renderer.plain("I")[0])
    assert not guard.refuses(renderer.plain('"')[0])
    assert guard.refuses(renderer.plain("{")[0])


async def test_several_calls_end_at_one_that_repeats(renderer: Renderer) -> None:
    rule = CallRule(must=True, name="clock")
    opening = renderer.call_opening(TALK, rule)
    guard = await guard_of(renderer, rule, begun=opening)
    one = '\n{"name": "clock", "arguments": {}}\n'
    wish = " {}}\n</tool_call>\n<tool_call>" + one + "</tool_call>\n<tool_call>" + one
    text, is_over = Babble(renderer, 3).write(guard, wish)
    assert is_over
    assert (opening + text).count("<tool_call>") == 3  # two, after the first that was forced
    assert text.endswith("}\n")


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
ENDLESS: dict[str, tuple[dict[str, Any], str, int]] = {
    "a string": (TEXT, '"' + "1234567890" * 30, 1000),
    "a string in a list": ({"type": "array", "items": TEXT}, '["a", "' + "no " * 90, 1000),
    "a number": (NUMBER, "3." + "3" * 300, 1000),
    "items of a list": ({"type": "array", "items": TEXT}, "[" + '"yes", ' * 50, 1000),
    "a list that counts": (
        {"type": "array", "items": NUMBER},
        f"[{', '.join(map(str, range(100, 200)))}",
        120,
    ),
}


@pytest.mark.parametrize(("part", "wish", "limit"), ENDLESS.values(), ids=ENDLESS)
async def test_what_a_model_would_write_for_ever_is_closed(
    renderer: Renderer, part: dict[str, Any], wish: str, limit: int
) -> None:
    schema = {"properties": {"a": part, "b": NUMBER, "c": TEXT}, "required": ["a", "b"]}
    talk = [Message("system", "", tools=(Tool("f", "", json.dumps(schema)),))]
    rule = CallRule(must=True, many=False)
    opening = renderer.call_opening(talk, rule)
    guard = await guard_of(renderer, rule, talk, opening, max_tokens=limit)
    begun = ' {"a": '
    text, is_over = Babble(renderer, 6).write(guard, begun + wish, limit=limit)
    assert is_over
    assert len(text) < len(begun + wish)
    call = json.loads((opening + text).removeprefix("<tool_call>"))
    jsonschema.validate(call["arguments"], schema)
    assert text.startswith(begun + wish[:40])


HOSTILE: dict[str, Any] = {
    "cycle": {"$ref": "#"},
    "endless": {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "cycle of two": {
        "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "long": {"properties": {"a": {"enum": [f"value number {n}" for n in range(20_000)]}}},
    "product": {
        "allOf": [
            {"anyOf": [{"properties": {f"{i}{j}": {"type": "string"}}} for j in range(9)]}
            for i in range(9)
        ]
    },
    "look-ahead": {"properties": {"a": {"type": "string", "pattern": "^(a+)+$(?=x)"}}},
    "unknown": {"properties": {"a": {"type": "string", "not": {"const": "x"}}}},
    "elsewhere": {"properties": {"a": {"$ref": "http://example.org/a.json"}}},
    "no type": {"properties": {"a": {"type": "objekt"}}},
    "list": {"type": "array"},
    "impossible": {"properties": {"a": False}, "required": ["a"]},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
async def test_a_bad_schema_still_gives_a_call_of_an_object(
    renderer: Renderer, schema: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    talk = [Message("system", "", tools=(Tool("f", "", json.dumps(schema)),))]
    rule = CallRule(must=True, many=False)
    opening = renderer.call_opening(talk, rule)
    async with asyncio.timeout(20):
        guard = await guard_of(renderer, rule, talk, opening)
    text, _ = Babble(renderer, 4).write(guard, limit=60)
    assert text.startswith(" {")
    if schema in (HOSTILE["list"], HOSTILE["look-ahead"], HOSTILE["long"]):
        assert "is not obeyed" in caplog.text


async def test_what_is_not_known_of_a_schema_is_left_out(renderer: Renderer) -> None:
    schema = {"properties": {"a": {"type": "integer", "format": "odd"}}, "required": ["a"]}
    talk = [Message("system", "", tools=(Tool("f", "", json.dumps(schema)),))]
    rule = CallRule(must=True, many=False)
    guard = await guard_of(renderer, rule, talk, renderer.call_opening(talk, rule))
    assert Babble(renderer, 5).write(guard, limit=7)[0] == ' {"a": '


async def test_the_loop_runs_while_a_schema_is_compiled() -> None:
    language = CallLanguage(byte_tokenizer(), [257], HermesTools())
    big = {"properties": {f"p{n}": {"type": "string"} for n in range(1000)}}
    assert len(json.dumps(big)) < LONGEST_SCHEMA
    talk = [Message("system", "", tools=(Tool("f", "", json.dumps(big)),))]
    compiling = asyncio.create_task(language.parsers(talk, CallRule()))
    turns = 0
    while not compiling.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert await language.parsers(talk, CallRule()) is compiling.result()  # kept


async def test_few_offers_are_kept() -> None:
    language = CallLanguage(byte_tokenizer(), [257], HermesTools())

    def talk(number: int) -> list[Message]:
        return [Message("system", "", tools=(Tool(f"f{number}", "", '{"type": "object"}'),))]

    first = await language.parsers(talk(0), CallRule())
    for number in range(1, MAX_KEPT + 1):
        await language.parsers(talk(number), CallRule())
    assert await language.parsers(talk(0), CallRule()) is not first


def test_joined_parts_stay_open() -> None:
    part: dict[str, Any] = {"properties": {"a": {}}}
    assert closed({"properties": {"x": part}})["properties"]["x"]["additionalProperties"] is False
    assert closed({"allOf": [part, part]}) == {"allOf": [part, part]}
    assert "additionalProperties" not in closed({**part, "$ref": "#/$defs/b"})
    assert closed({**part, "additionalProperties": True})["additionalProperties"] is True


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def test_a_model_without_calls_has_no_language() -> None:
    chat = ChatFormat(CHATML.opening, CHATML.closing, CHATML.stop)
    assert asyncio.run(Renderer(byte_tokenizer(), chat).call_parsers(TALK, CallRule())) is None
