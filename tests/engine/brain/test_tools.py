"""How functions, calls and results are written for models, and how an answer is made to be a
call."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from engine.brain.chat_format import CHATML, ChatFormat, Renderer
from engine.brain.hf import tools_from_template
from engine.brain.local_session import LocalBrainSession
from engine.brain.prompt_writer import PromptWriter
from engine.brain.token_log import check_cut
from engine.errors import ContextExceeded, EngineError
from engine.text.tool_calls import HermesTools
from engine.types import (
    CallRule,
    Finished,
    GenerationOptions,
    Message,
    Tool,
    ToolCall,
    ToolResult,
)
from engine.worker import Worker
from tests._support.byte_tokens import byte_tokenizer

CLOCK = Tool("clock", "The time.", '{"type": "object"}')
SYSTEM = Message("system", "Be brief.", tools=(CLOCK,))
CALL = ToolCall("clock", '{"zone": "ü"}', "call_1")
TALK = [
    SYSTEM,
    Message("user", "What time is it?"),
    Message("assistant", "Let me see.", calls=(CALL, CALL)),
    Message("tool", "", results=(ToolResult("clock", "ten"), ToolResult("clock", "eleven"))),
]
# The chat template of Qwen2.5 (its tokenizer_config.json), rendered for TALK.
QWEN = (
    "<|im_start|>system\nBe brief.\n\n# Tools\n\n"
    "You may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
    '{"type": "function", "function": {"name": "clock", "description": "The time.", '
    '"parameters": {"type": "object"}}}\n</tools>\n\n'
    "For each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
    "<|im_start|>user\nWhat time is it?<|im_end|>\n"
    "<|im_start|>assistant\nLet me see.\n"
    '<tool_call>\n{"name": "clock", "arguments": {"zone": "ü"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {"zone": "ü"}}\n</tool_call><|im_end|>\n'
    "<|im_start|>user\n<tool_response>\nten\n</tool_response>\n"
    "<tool_response>\neleven\n</tool_response><|im_end|>\n"
)


def text_of(ids: Sequence[int]) -> str:
    return byte_tokenizer().decode(list(ids), skip_special_tokens=False)


def test_the_conversation_is_written_as_qwens_template_does() -> None:
    assert text_of(PromptWriter(Renderer(byte_tokenizer(), CHATML), 4096).write(TALK)) == QWEN


def test_tools_stand_alone_without_instructions() -> None:
    [(_, text)] = HermesTools().blocks(Message("system", "", tools=(CLOCK,)))
    assert text.startswith("# Tools")


def test_a_model_that_knows_no_tools_refuses_them_and_only_them() -> None:
    writer = PromptWriter(Renderer(byte_tokenizer(), replace(CHATML, tools=None)), 4096)
    assert writer.write(TALK[1:2])
    for message in (TALK[0], TALK[2], TALK[3]):
        with pytest.raises(EngineError, match="no way to call functions"):
            writer.write([message])


def test_tools_that_fill_the_context_are_refused_unread() -> None:
    big = Tool("f", "x" * 100_000)
    with pytest.raises(ContextExceeded):
        PromptWriter(Renderer(byte_tokenizer(), CHATML), 512).write(
            [Message("system", "", tools=(big,))]
        )


def test_a_call_keeps_the_ids_that_the_log_holds() -> None:
    renderer = Renderer(byte_tokenizer(), CHATML)
    writer = PromptWriter(renderer, 4096)
    opened = [*writer.write(TALK[:2]), *renderer.opening["assistant"]]
    # Spelt in other tokens than the tokenizer would choose: the merge of x and y is not taken.
    call = ToolCall("clock", '{"a": "xy"}')
    body = renderer.answer_text(Message("assistant", "", calls=(call,)))
    own = [i for letter in body for i in renderer.plain(letter)]
    assert own != renderer.plain(body)
    talk = [*TALK[:2], Message("assistant", "", calls=(call,))]
    assert writer.write(talk, held=[*opened, *own])[: len(opened) + len(own)] == [*opened, *own]


def hermes(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    text = ""
    for index, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role == "system" and tools:
            schemas = "\n".join(json.dumps(tool) for tool in tools)
            content += QWEN.split("Be brief.")[1].split("\n{")[0] + "\n" + schemas
            content += QWEN.split("}}}")[1].split("<|im_end|>")[0]
        for call in message.get("tool_calls", ()):
            written = json.dumps(call["function"])
            content += ("\n" if content else "") + f"<tool_call>\n{written}\n</tool_call>"
        if role == "tool":
            content = f"<tool_response>\n{content}\n</tool_response>"
            if messages[index - 1]["role"] == "tool":
                text = text.removesuffix("<|im_end|>\n") + f"\n{content}<|im_end|>\n"
                continue
            role = "user"
        text += f"<|im_start|>{role}\n{content}<|im_end|>\n"
    return text


def refuses(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    raise TypeError("no tools here")


def test_templates_that_show_tools_as_qwen_does_are_recognised() -> None:
    assert isinstance(tools_from_template(hermes, CHATML), HermesTools)
    assert tools_from_template(lambda messages, _: hermes(messages, []), CHATML) is None
    assert tools_from_template(refuses, CHATML) is None


class Scripted:
    """A log that goes on with ``script`` after the prompt, whatever is in it; notes what was
    asked to be scored."""

    def __init__(self, tokenizer: Tokenizer, script: str) -> None:
        self.tokens: list[int] = []
        self._script = [*tokenizer.encode(script).ids, tokenizer.token_to_id("<|im_end|>")]
        self._size = tokenizer.get_vocab_size()
        self._start: int | None = None  # of the script

    def append(self, tokens: Sequence[int]) -> None:
        self.tokens.extend(tokens)

    def truncate(self, length: int) -> None:
        check_cut(len(self.tokens), length)
        del self.tokens[length:]

    def logits(self) -> np.ndarray:
        if self._start is None:
            self._start = len(self.tokens)
        scores = np.full(self._size, 0.5, np.float32)
        scores[self._script[min(len(self.tokens) - self._start, len(self._script) - 1)]] = 1
        return scores

    def close(self) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("brain")
    yield worker
    worker.close()


async def say(
    worker: Worker, script: str, rule: CallRule, chat_format: ChatFormat = CHATML, **options: Any
) -> tuple[str, Finished, str]:
    """What comes of ``script``, how it ends, and what the log holds after the prompt."""
    tokenizer = byte_tokenizer()
    log = Scripted(tokenizer, script)
    session = LocalBrainSession(log, Renderer(tokenizer, chat_format), worker, context_tokens=4096)
    text, end = "", None
    async for piece in session.generate(TALK[:2], GenerationOptions(calls=rule, **options)):
        if isinstance(piece, Finished):
            end = piece
        else:
            text += piece
    await session.close()
    assert end is not None
    return text, end, text_of(log.tokens).split("<|im_start|>assistant\n")[1]


OPENED = '<tool_call>\n{"name": "clock", "arguments":'


async def test_an_answer_that_has_to_be_a_call_begins_as_one(worker: Worker) -> None:
    rest = '"a": 1}}\n</tool_call>'  # the brace before it is not asked for
    text, end, held = await say(worker, rest, CallRule(must=True))
    assert text == held == f"{OPENED} {{{rest}"
    assert end.output_tokens == len(text.encode())
    assert end.reason == "stop"
    text, _, _ = await say(worker, "hm." + rest, CallRule(must=True), think_tokens=3)
    assert text.startswith(f"<think>\nhm.</think>{OPENED}")


async def test_an_answer_may_be_a_call(worker: Worker) -> None:
    text, end, _ = await say(worker, "Hello.", CallRule())
    assert (text, end.reason) == ("Hello.", "stop")


async def test_an_answer_ends_with_its_only_call(worker: Worker) -> None:
    call, other = (f'{OPENED} {{"a": {n}}}}}\n' for n in (1, 2))
    both = f"{call}</tool_call>\n{other}</tool_call>"
    text, end, _ = await say(worker, both, CallRule(many=False))
    assert (text, end.reason) == (call, "stop")
    text, end, _ = await say(worker, both, CallRule())
    assert (text, end.reason) == (both, "stop")


async def test_repetition_has_no_penalty_in_a_call(worker: Worker) -> None:
    unlike = {"repetition_penalty": 3.0, "max_tokens": 90}  # more than an ending is left
    text, _, _ = await say(worker, '"aaaaaaaaaaaaaa', CallRule(must=True), **unlike)  # type: ignore[arg-type]
    assert text.startswith(OPENED + ' {"aaaaaaaaaaaaaa')
    text, _, _ = await say(worker, "haaaaaaaaaaaaaa", CallRule(), **unlike)  # type: ignore[arg-type]
    assert "aa" not in text


def test_step_audio_is_shown_tools_as_its_template_does(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from engine.native.model.template import StepTools, with_tools
    from engine.native.model.tokens import STEP_CHAT

    chat_format = with_tools(STEP_CHAT)
    written = "".join(
        chat_format.opening[role] + text + chat_format.closing[role]
        for message in TALK
        for role, text in StepTools().blocks(message)
    )
    assert written == (
        "<|BOT|>system\nBe brief.<|EOT|>"
        '<|BOT|>tool_json_schemas\n[{"type": "function", "function": {"name": "clock", '
        '"description": "The time.", "parameters": {"type": "object"}}}]<|EOT|>'
        "<|BOT|>human\nWhat time is it?<|EOT|>"
        '<|BOT|>assistant\nLet me see.<tool_call>function\nclock\n{"zone": "ü"}</tool_call>'
        '<tool_call>function\nclock\n{"zone": "ü"}</tool_call><|EOT|>'
        "<|BOT|>function_output\nclock\nten<|EOT|><|BOT|>function_output\nclock\neleven<|EOT|>"
    )
    bare = StepTools().blocks(Message("system", "", tools=(CLOCK,)))
    assert chat_format.closing[bare[0][0]] == ""  # the published template leaves it open
    assert StepTools().opening("clock") == "<tool_call>function\nclock\n"
