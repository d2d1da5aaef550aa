"""What a model may write in a call of a function: compiled once for all calls of it.

llguidance keeps a parser over the tokens so far and says which tokens may follow. Here are its
tokenizer, the grammars, and the cache of those that were compiled.
"""

import asyncio
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from tokenizers import Tokenizer

from engine.brain.call_schema import ANY_OBJECT, LONGEST_SCHEMA, variants
from engine.types import CallRule, Message, Tool

logger = logging.getLogger(__name__)

MAX_KEPT = 32  # compiled offers; each holds the states of its parser, some megabytes at most
# A state takes one or two kilobytes. The library's other limits bound the time: a second or two
# for the worst schema to be compiled, and some 15 ms for a token.
_LIMITS = LLParserLimits(max_lexer_states=20_000, verbose_errors=False)


_MOST_FORCED = 1000  # tokens without a choice; a schema that asks for itself has no end


class CallFormat(Protocol):
    """How calls are written; a part of `engine.brain.chat_format.ToolFormat`."""

    def around(self, name: str) -> tuple[str, str]:
        """The text of a call between its tags, before and after the arguments."""


@dataclass(frozen=True, slots=True)
class CallParsers:
    """Parsers to be copied, at the beginning of a call: after its opening tag, and of one without
    tags."""

    tagged: LLMatcher
    bare: LLMatcher


class CallLanguage:
    """The grammars of calls for one tokenizer; shared by all calls of the server."""

    def __init__(
        self, tokenizer: Tokenizer, stop_ids: Collection[int], call_format: CallFormat
    ) -> None:
        """Takes a second for a vocabulary of 150,000, in which no other thread runs."""
        self._format = call_format
        self._tokenizer = _library_tokenizer(tokenizer, stop_ids)
        self._kept: OrderedDict[tuple[Tool, ...], CallParsers] = OrderedDict()
        self._schemas: OrderedDict[Tool, str] = OrderedDict()
        self._gate = threading.Lock()

    async def parsers(self, messages: Sequence[Message], rule: CallRule) -> CallParsers | None:
        """The parsers for the functions that ``messages`` offer; None if no call can be made, or
        if this tokenizer is not understood. What is new is compiled in a thread."""
        tools = tuple(tool for message in messages for tool in message.tools)
        if rule.name is not None:
            tools = tuple(tool for tool in tools if tool.name == rule.name)
        if not tools or not rule.may or self._tokenizer is None:
            return None
        with self._gate:
            if (kept := self._kept.get(tools)) is not None:
                self._kept.move_to_end(tools)
                return kept
        return await asyncio.to_thread(self._compile, self._tokenizer, tools)

    def tokens(self, text: str) -> list[int]:
        """``text`` in some tokens, to be read by a parser."""
        assert self._tokenizer is not None
        ids: list[int] = self._tokenizer.greedy_tokenize(text)
        return ids

    def _compile(self, tokenizer: LLTokenizer, tools: tuple[Tool, ...]) -> CallParsers:
        """In a thread: the library lets others run meanwhile."""
        room = LONGEST_SCHEMA
        schemas = []
        for tool in tools:
            room -= len(tool.parameters)
            if room < 0:
                logger.warning("the schema of %r is not obeyed: too long", tool.name)
            schemas.append(json.dumps(ANY_OBJECT) if room < 0 else self._schema(tokenizer, tool))
        made = self._parsers(tokenizer, tools, schemas)
        if made.tagged.is_error() or made.bare.is_error():
            logger.warning("the schemas of %d functions are too much together", len(tools))
            made = self._parsers(tokenizer, tools, [json.dumps(ANY_OBJECT)] * len(tools))
        with self._gate:
            self._kept[tools] = made
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return made

    def _parsers(
        self, tokenizer: LLTokenizer, tools: Sequence[Tool], schemas: Sequence[str]
    ) -> CallParsers:
        around = [self._format.around(tool.name) for tool in tools]
        bare = [(f'{{"name": {json.dumps(tool.name)}, "arguments": ', "}") for tool in tools]
        return CallParsers(
            _parser(tokenizer, grammar(around, schemas)), _parser(tokenizer, grammar(bare, schemas))
        )

    def _schema(self, tokenizer: LLTokenizer, tool: Tool) -> str:
        """The strictest reading of the tool's schema that can be compiled."""
        with self._gate:
            if (kept := self._schemas.get(tool)) is not None:
                return kept
        text, why = json.dumps(ANY_OBJECT), ""
        for index, variant in enumerate(variants(tool)):
            text = json.dumps(variant)
            parser = _parser(tokenizer, grammar([("", "")], [text]))
            if _can_begin(parser, tokenizer.greedy_tokenize("{")):
                if (why and index > 1) or variant is ANY_OBJECT:
                    what = "is not obeyed" if variant is ANY_OBJECT else "is obeyed in parts"
                    logger.warning("the schema of %r %s: %s", tool.name, what, why or "unreadable")
                break
            why = why or (parser.get_error() or "it has no end").splitlines()[0][:200]
        with self._gate:
            self._schemas[tool] = text
            while len(self._schemas) > MAX_KEPT * 8:
                self._schemas.popitem(last=False)
        return text


def grammar(around: Sequence[tuple[str, str]], schemas: Sequence[str]) -> str:
    """The grammar, in llguidance's kind of Lark, of one of several calls: for each the text before
    and after its arguments, and their schema."""
    lines = ["start: " + " | ".join(f"call_{index}" for index in range(len(schemas)))]
    for index, ((before, after), schema) in enumerate(zip(around, schemas, strict=True)):
        parts = [json.dumps(before)] if before else []
        parts.append(f"arguments_{index}")
        parts += [json.dumps(after)] if after else []
        lines += [f"call_{index}: {' '.join(parts)}", f"arguments_{index}: %json {schema}"]
    return "\n".join(lines)


def _can_begin(parser: LLMatcher, brace: list[int]) -> bool:
    """Whether an object can be begun. A schema that never ends is refused only then."""
    if parser.is_error() or not parser.consume_tokens(brace):
        return False
    if len(parser.compute_ff_tokens()) > _MOST_FORCED:
        return False
    parser.compute_bitmask()
    return not parser.is_error()


def _parser(tokenizer: LLTokenizer, lark: str) -> LLMatcher:
    source = LLMatcher.grammar_from_lark(lark)
    return LLMatcher(tokenizer, source, log_level=0, limits=_LIMITS)


def _library_tokenizer(tokenizer: Tokenizer, stop_ids: Collection[int]) -> LLTokenizer | None:
    """None if the library does not know this kind of tokenizer."""
    try:
        return LLTokenizer(
            tokenizer.to_str(), eos_token=sorted(stop_ids), slices=LLTokenizer.json_slices()
        )
    except ValueError as error:
        logger.warning("calls of functions are not kept to their schemas: %s", error)
        return None
