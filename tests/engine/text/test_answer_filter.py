"""Speech, thoughts and calls in raw text: nothing but speech is ever spoken."""

import json
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.brain.chat_format import ToolFormat
from engine.errors import EngineError
from engine.native.model.template import StepTools
from engine.text.answer_filter import AnswerFilter, CallBroken, sorted_pieces
from engine.text.tool_calls import HermesTools
from engine.types import (
    CallArguments,
    CallEnded,
    CallRule,
    CallStarted,
    Finished,
    FinishReason,
    GenerationOptions,
    Message,
    Piece,
    RawPiece,
    Speech,
    Thought,
    Tool,
    ToolCall,
)

HERMES = '<tool_call>\n{"name": "get", "arguments": {"city": "Rome"}}\n</tool_call>'
STEP = '<tool_call>function\nget\n{"city": "Rome"}</tool_call>'
ROME = ("get", '{"city": "Rome"}')
Read = tuple[str, str, list[tuple[str, str]], bool]


def read(*texts: str, cut: bool = False, expects_calls: bool = True) -> Read:
    """Speech, thoughts, whole calls, and whether a call was broken."""
    answer = AnswerFilter(expects_calls=expects_calls)
    pieces = [piece for text in texts for piece in answer.feed(text)] + answer.finish(cut=cut)
    speech = thought = ""
    calls: list[tuple[str, str]] = []
    name, arguments, is_broken = "", "", False
    for piece in pieces:
        assert not is_broken  # nothing follows
        match piece:
            case Speech(text):
                speech += text
            case Thought(text):
                thought += text
            case CallStarted(name):
                arguments = ""
            case CallArguments(text):
                arguments += text
            case CallEnded():
                calls.append((name, arguments))
            case CallBroken():
                is_broken = True
    return speech, thought, calls, is_broken


@pytest.mark.parametrize(
    ("text", "speech", "thought", "calls"),
    [
        ("Hello.", "Hello.", "", []),
        (HERMES, "", "", [ROME]),
        (STEP, "", "", [ROME]),
        (f"Let me see. {HERMES}\n{HERMES}", "Let me see. \n", "", [ROME, ROME]),
        (f"<think>I call {HERMES} now</think>No.", "No.", f"I call {HERMES} now", []),
        (f"<think>so</think>{STEP}", "", "so", [ROME]),
        ("a</tool_call>b", "ab", "", []),
        ("ends in <tool_c", "ends in <tool_c", "", []),
        ("<th<tool_call>{}", "<th", "", None),
        ("<TOOL_CALL>" + HERMES[11:], "", "", [ROME]),
        ('<tool_call>{"name": "f"}</tool_call>', "", "", [("f", "{}")]),
        ("<tool_call>function\nf\n</tool_call>ok", "ok", "", [("f", "")]),
        (
            '<tool_call>{"name":"f","arguments":"{\\"a\\": 1}"}</tool_call>',
            "",
            "",
            [("f", '{"a": 1}')],
        ),
        (
            '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>',
            "",
            "",
            [("f", '{"a": 1}')],
        ),
        (
            '<tool_call>{"name":"f","arguments":{"a":"</tool_call><think>\\"}{"}}</tool_call>b',
            "b",
            "",
            [("f", '{"a":"</tool_call><think>\\"}{"}')],
        ),
        (HERMES.removesuffix("</tool_call>"), "", "", [ROME]),  # it stopped without the tag
        (HERMES[12:-13], "", "", [ROME]),  # without any tags, as small models write it
        ("```json\n" + HERMES[12:-13] + "\n```", "", "", [ROME]),
        (" \n<think>x</think>\n" + HERMES[12:-13], "", "x", [ROME]),
        ("Say {this}.", "Say {this}.", "", []),
        ("`code`", "`code`", "", []),
        ("```python\nx```", "```python\nx```", "", []),
        ("``", "``", "", []),
        ("<tool_call>sorry</tool_call>", "", "", None),
        ('<tool_call>{"name": "f", "arguments": {"a": ', "", "", None),
        ('{"name": "f"', "", "", None),
    ],
)
def test_examples(
    text: str, speech: str, thought: str, calls: list[tuple[str, str]] | None
) -> None:
    for parts in ((text,), tuple(text)):
        said, thoughts, made, is_broken = read(*parts)
        assert (said, thoughts) == (speech, thought)
        assert is_broken == (calls is None)
        assert made == (calls or [])


def test_an_answer_that_was_cut_in_a_call_has_none_and_is_not_broken() -> None:
    for end in range(1, len(HERMES) - len("}\n</tool_call>")):
        said, _, made, is_broken = read(HERMES[:end], cut=True)
        assert (made, is_broken) == ([], False)
        assert said in ("", HERMES[:end])
        assert said == "" or end < len("<tool_call>")


def test_braces_are_words_where_no_calls_are_expected() -> None:
    assert read('{"name": "f"}', expects_calls=False)[0] == '{"name": "f"}'


PARTS = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_", "call>", "<", ">", " "),
        *('{"name": "f", "arguments": ', '{"a": "b"}', "}", "{", '"', "\\", "\n", "hello", "```"),
        *("function\nf\n", "json", '{"name": "f"}', "<TOOL_CALL>", "\u0130", "é"),
    ]
)
TEXTS = st.lists(PARTS, max_size=12).map("".join) | st.text(max_size=30)


@given(TEXTS, st.data(), st.booleans(), st.booleans())
def test_any_split_gives_the_same(text: str, data: st.DataObject, cut: bool, expects: bool) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = read(text, cut=cut, expects_calls=expects)
    assert read(*parts, cut=cut, expects_calls=expects) == whole


SAID = st.text("abc <>/.\n").filter(lambda text: not text.lstrip().startswith(("{", "`")))
SECRET = st.text('XYZ <>/{}"\\')


@given(
    st.lists(
        st.tuples(SAID, st.sampled_from(["think", "hermes", "step"]), SECRET),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 7),
)
def test_what_is_thought_or_called_is_never_spoken_and_no_word_is_lost(
    blocks: list[tuple[str, str, str]], size: int
) -> None:
    text, calls = "", []
    for said, kind, secret in blocks:
        arguments = json.dumps({"x": secret})
        match kind:
            case "think":
                thought = secret.replace("<", "").replace(">", "")
                text += f"{said}<think>{thought}</think>"
            case "hermes":
                text += (
                    f'{said}<tool_call>\n{{"name": "f", "arguments": {arguments}}}\n</tool_call>'
                )
                calls.append(("f", arguments))
            case _:
                text += f"{said}<tool_call>function\nf\n{arguments}</tool_call>"
                calls.append(("f", arguments))
    speech, _, made, is_broken = read(*(text[i : i + size] for i in range(0, len(text), size)))
    assert not is_broken
    assert speech == "".join(said for said, _, _ in blocks)
    assert made == calls


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("</tool_call>"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize("form", [HermesTools(), StepTools()], ids=["hermes", "step"])
@given(
    calls=st.lists(
        st.tuples(
            st.from_regex(r"[a-zA-Z0-9_.-]{1,64}", fullmatch=True),
            st.dictionaries(st.text(), JSON, max_size=2),
        ),
        min_size=1,
        max_size=3,
    ),
    size=st.integers(1, 9),
)
def test_calls_are_read_as_they_are_written(
    form: ToolFormat, calls: list[tuple[str, dict[str, object]]], size: int
) -> None:
    made = [(name, json.dumps(arguments)) for name, arguments in calls]
    written = tuple(ToolCall(name, arguments) for name, arguments in made)
    [(_, text)] = form.blocks(Message("assistant", "Well.", calls=written))
    assert read(*(text[i : i + size] for i in range(0, len(text), size)))[2:] == (made, False)


OFFER = [Message("system", "", tools=(Tool("get"), Tool("set"))), Message("user", "Hi.")]


async def answer(
    *raw: RawPiece,
    messages: list[Message] = OFFER,
    rule: CallRule | None = None,
    reason: FinishReason = "stop",
) -> list[Piece]:
    async def brain() -> AsyncGenerator[RawPiece, None]:
        for piece in raw:
            yield piece
        yield Finished(reason, 5, 4, 3)

    options = GenerationOptions(calls=rule or CallRule())
    return [piece async for piece in sorted_pieces(brain(), messages, options)]


END = Finished("stop", 5, 4, 3)
GOT = [CallStarted("get"), CallArguments('{"city": "Rome"}'), CallEnded()]


async def test_words_then_a_call_and_nothing_spoken_after_it() -> None:
    said = await answer("Let me see.", "\n", HERMES, " It is sunny there.", STEP)
    assert said == [Speech("Let me see."), *GOT, *GOT, END]


async def test_at_most_one_call_if_no_more_are_wanted() -> None:
    assert await answer(HERMES, "\n", HERMES, rule=CallRule(many=False)) == [*GOT, END]


async def test_blanks_are_spoken_with_the_words_after_them_only() -> None:
    assert await answer("\n", "Yes.", " ", "Sir.", "\n") == [Speech("\nYes."), Speech(" Sir."), END]
    assert await answer("\n\n") == [END]


async def test_a_call_that_nobody_wants_is_neither_made_nor_spoken() -> None:
    talk = [Message("user", "Hi.")]
    assert await answer("Hm. ", HERMES, "Yes.", messages=talk) == [
        Speech("Hm. "),
        Speech("Yes."),
        END,
    ]
    assert await answer("<tool_call>rubbish", messages=talk) == [END]


@pytest.mark.parametrize(
    "raw",
    [
        [HERMES.replace("get", "rob")],
        ["<tool_call>rubbish</tool_call>"],
        ['<tool_call>{"name": "get", "arguments": {"city": ]}}</tool_call>'],
        ['<tool_call>{"name": "get", "arguments": [1]}</tool_call>'],
        ['<tool_call>{"name": "get", "arguments": {"city": "Ro'],
        [CallStarted("get"), CallArguments("no object"), CallEnded()],
    ],
)
async def test_a_call_that_cannot_be_obeyed_is_an_error(raw: list[RawPiece]) -> None:
    with pytest.raises(EngineError, match="call"):
        await answer(*raw)


async def test_a_call_that_was_cut_is_no_error() -> None:
    pieces = await answer(HERMES[:-20], reason="length")
    assert pieces[0] == CallStarted("get")
    assert CallEnded() not in pieces
    assert pieces[-1] == Finished("length", 5, 4, 3)


async def test_an_endpoints_call_without_arguments_has_an_empty_object() -> None:
    assert await answer(CallStarted("get"), CallEnded()) == [
        CallStarted("get"),
        CallArguments("{}"),
        CallEnded(),
        END,
    ]
