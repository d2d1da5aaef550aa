"""A Hugging Face causal language model, from a directory or the hub, as a brain."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.brain.chat_format import ChatFormat, Renderer, ToolFormat
from engine.brain.local_session import LocalBrainSession
from engine.brain.token_log import TokenLog
from engine.text.tool_calls import HermesTools
from engine.types import Message, Tool, ToolCall, ToolResult
from engine.worker import Worker

Template = Callable[[list[dict[str, str]], bool], str]
ToolTemplate = Callable[[list[dict[str, Any]], list[dict[str, Any]]], str]


class HuggingFaceBrain:
    """Weights through transformers and torch; uses the same session as the embedded brain."""

    def __init__(
        self,
        name: str | Path,
        *,
        threads: int = 2,
        context_tokens: int = 2048,
        device: str = "cpu",
        dtype: str = "auto",
    ) -> None:
        """Load ``name``, a directory or a hub name. No remote code is run.

        Raises:
            ImportError: torch or transformers is not installed.
            OSError: there is no such model.
            ValueError: its chat template or tokenizer cannot be used.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            from engine.brain.torch_log import TorchTokenLog
        except ImportError as error:
            raise ImportError(
                "a Hugging Face brain needs the packages 'torch' and 'transformers'"
            ) from error
        torch.set_num_threads(threads)
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        self._model = model.to(device).eval()
        self._open_log: Callable[[], TokenLog] = lambda: TorchTokenLog(self._model)
        self.context_tokens = min(
            context_tokens, getattr(model.config, "max_position_embeddings", context_tokens)
        )
        self._renderer = chat_renderer(tokenizer, model.generation_config.eos_token_id)
        self._worker = Worker("brain")

    def open(self) -> LocalBrainSession:
        """Start a session with an empty cache."""
        return LocalBrainSession(
            self._open_log(), self._renderer, self._worker, context_tokens=self.context_tokens
        )

    def close(self) -> None:
        """Stop the thread."""
        self._worker.close()


def chat_renderer(tokenizer: Any, stops: int | list[int] | None) -> Renderer:
    """A writer of conversations for a tokenizer of transformers, which has a chat template.
    ``stops``: the ids that end an answer, beside the tokenizer's own.

    Raises:
        ValueError: the tokenizer or its template cannot be used.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{tokenizer.name_or_path} has no fast tokenizer")
    chat_format = format_from_template(
        lambda messages, prompt: str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        ),
        stop=_stop_tokens(stops, tokenizer),
        start=tokenizer.bos_token or "",
    )
    tools = tools_from_template(
        lambda messages, tools: str(
            tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        ),
        chat_format,
    )
    return Renderer(tokenizer.backend_tokenizer, replace(chat_format, tools=tools))


def format_from_template(template: Template, *, stop: tuple[str, ...], start: str) -> ChatFormat:
    """Read a chat template as the text around each message.

    A conversation of known words is rendered and cut at those words; another is rendered to
    see that the pieces make what the template makes.

    Raises:
        ValueError: the template does more than to put text around messages.
    """
    system, user, answer, again = "SYSTEMWORDS", "USERWORDS", "ANSWERWORDS", "AGAINWORDS"
    talk = [_turn("system", system), _turn("user", user), _turn("assistant", answer)]
    try:
        text = template([*talk, _turn("user", again)], False)
        prompt = template(talk[:2], True)
        before, rest = text.split(system)
        after_system, rest = rest.split(user)
        _, rest = rest.split(answer)
        after_answer, closing_user = rest.split(again)
        opening_answer = prompt.split(user)[1].removeprefix(closing_user)
    except Exception as error:  # a template is a program: it may raise anything
        raise ValueError(f"the chat template cannot be used: {error}") from error
    same = _common(after_answer, closing_user)
    opening_user = after_answer[same:]
    chat_format = ChatFormat(
        start=start if start and before.startswith(start) else "",
        opening={
            "system": before.removeprefix(start),
            "user": opening_user,
            "assistant": opening_answer,
        },
        closing={
            "system": after_system.removesuffix(opening_user),
            "user": closing_user,
            "assistant": after_answer[:same],
        },
        stop=stop,
    )
    if _write(chat_format, [*talk, _turn("user", again)]) != text:
        raise ValueError("the chat template does more than to put text around each message")
    return chat_format


def tools_from_template(template: ToolTemplate, chat_format: ChatFormat) -> ToolFormat | None:
    """How the model behind a chat template, which was read as ``chat_format``, is shown functions:
    None if not in the way that is known here, with ``<tool_call>`` tags (Qwen, Hermes). The
    words around the list of functions may differ: they do from one Qwen2.5 to the next."""
    tool, call = Tool("find", "Finds it.", '{"type": "object"}'), ToolCall("find", '{"it": 1}')
    talk = [
        Message("system", "Be brief.", tools=(tool,)),
        Message("user", "Where is it?"),
        Message("assistant", "", calls=(call,)),
        Message("tool", "", results=(ToolResult("find", "here"), ToolResult("find", "there"))),
    ]
    function = {"name": call.name, "arguments": json.loads(call.arguments)}
    told: list[dict[str, Any]] = [
        _turn("system", talk[0].text),
        _turn("user", talk[1].text),
        {**_turn("assistant", ""), "tool_calls": [{"type": "function", "function": function}]},
        *(_turn("tool", result.output) for result in talk[3].results),
    ]
    try:
        text = template(told, [tool.schema()])
    except Exception:  # a template is a program: it may raise anything
        return None
    hermes = HermesTools()
    blocks = [block for message in talk[1:] for block in hermes.blocks(message)]
    written = [{"role": role, "content": shown} for role, shown in blocks]
    rest = _write(replace(chat_format, start=""), written)
    lists = json.dumps(tool.schema(), ensure_ascii=False) in text.removesuffix(rest)
    return hermes if text.endswith(rest) and lists else None


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _write(chat_format: ChatFormat, talk: list[dict[str, Any]]) -> str:
    return chat_format.start + "".join(
        chat_format.opening[turn["role"]] + turn["content"] + chat_format.closing[turn["role"]]
        for turn in talk
    )


def _common(a: str, b: str) -> int:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return length


def _stop_tokens(configured: int | list[int] | None, tokenizer: Any) -> tuple[str, ...]:
    """The tokens that end an answer: those of the model's settings, and the tokenizer's."""
    named = [*(configured if isinstance(configured, list) else [configured])]
    ids = {id_ for id_ in (*named, tokenizer.eos_token_id) if id_ is not None}
    if not ids:
        raise ValueError("the model names no token that ends an answer")
    return tuple(tokenizer.convert_ids_to_tokens(sorted(ids)))
