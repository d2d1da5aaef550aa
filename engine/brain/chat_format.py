"""Messages to token ids, each message by itself.

A message's ids do not depend on its neighbours, so a prompt and the KV cache can be compared id by
id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engine.brain.call_guard import CallGuard
from engine.brain.call_language import CallLanguage, CallParsers
from engine.errors import EngineError
from engine.text.tool_calls import CALL_OPEN, HermesTools
from engine.types import CallRule, Message


class ToolFormat(Protocol):
    """The text of functions, of calls and of their results, in a model's own format."""

    def blocks(self, message: Message) -> list[tuple[str, str]]:
        """``message`` as (role, text) blocks; the `ChatFormat` has an opening for each role. An
        assistant's message is one block."""

    @property
    def between(self) -> str:
        """The text from the end of a call to the end of the opening tag of the next."""

    def opening(self, name: str | None) -> str:
        """The beginning of an answer that has to be a call, of ``name`` if that is given."""

    def around(self, name: str) -> tuple[str, str]:
        """The text of a call of ``name`` between its tags, before and after its arguments."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The text around a message, by role; it may hold special tokens.

    ``start`` opens the conversation; ``stop`` are the tokens that end an answer. ``tools`` None:
    the model cannot call functions. It may have roles of its own.
    """

    opening: Mapping[str, str]
    closing: Mapping[str, str]
    stop: tuple[str, ...]
    start: str = ""
    tools: ToolFormat | None = None


CHATML = ChatFormat(
    opening={
        "system": "<|im_start|>system\n",
        "user": "<|im_start|>user\n",
        "assistant": "<|im_start|>assistant\n",
    },
    closing={"system": "<|im_end|>\n", "user": "<|im_end|>\n", "assistant": "<|im_end|>\n"},
    stop=("<|im_end|>", "<|endoftext|>"),
    tools=HermesTools(),
)


class Renderer:
    """Writes messages as ids and reads ids as text; shared by all calls.

    It owns ``tokenizer`` and sets it to treat messages as plain text, so that a caller cannot close
    a turn by saying the closing token.
    """

    def __init__(self, tokenizer: Tokenizer, chat_format: ChatFormat) -> None:
        """Raises:
        ValueError: the tokenizer does not know a stop token.
        """
        self.stop_ids = frozenset(_token_id(tokenizer, token) for token in chat_format.stop)
        self._tokenizer = tokenizer
        self._tools = chat_format.tools
        tokenizer.encode_special_tokens = False
        self.start = self._encode(chat_format.start)
        self.opening = {role: self._encode(text) for role, text in chat_format.opening.items()}
        self.closing = {role: self._encode(text) for role, text in chat_format.closing.items()}
        tokenizer.encode_special_tokens = True
        tools = chat_format.tools
        self._calls = CallLanguage(tokenizer, self.stop_ids, tools) if tools else None

    def open_message(self, role: str, text: str = "") -> list[int]:
        """Ids of a message that is not finished."""
        return self.opening[role] + self._encode(text)

    def message(self, message: Message) -> list[int]:
        """Ids of a finished message.

        Raises:
            EngineError: it offers or calls functions, and the model cannot call any.
        """
        ids: list[int] = []
        for role, text in self._blocks(message):
            ids += self.open_message(role, text) + self.closing[role]
        return ids

    def answer_text(self, message: Message) -> str:
        """The text that the model wrote for the assistant's ``message``. Raises as `message`."""
        [(_, text)] = self._blocks(message)
        return text

    def call_opening(self, messages: Sequence[Message], rule: CallRule) -> str:
        """The forced beginning of the answer to ``messages``; empty if it need not be a call."""
        names = [tool.name for message in messages for tool in message.tools]
        if not rule.must or not names or self._tools is None:
            return ""
        return self._tools.opening(names[0] if len(names) == 1 else rule.name)

    async def call_parsers(self, messages: Sequence[Message], rule: CallRule) -> CallParsers | None:
        """See `CallLanguage.parsers`."""
        return None if self._calls is None else await self._calls.parsers(messages, rule)

    def call_guard(
        self,
        messages: Sequence[Message],
        rule: CallRule,
        parsers: CallParsers | None,
        max_tokens: int,
    ) -> CallGuard:
        """The guard of one answer to ``messages`` of at most ``max_tokens``, without its beginning
        if that is forced; ``parsers`` are those of the messages."""
        offers = any(message.tools for message in messages)
        between = CALL_OPEN if self._tools is None else self._tools.between
        return CallGuard(
            self,
            self.stream(),
            parsers,
            rule,
            offers=offers,
            between=between,
            max_tokens=max_tokens,
        )

    def call_tokens(self, text: str) -> list[int]:
        """See `CallLanguage.tokens`."""
        return [] if self._calls is None else self._calls.tokens(text)

    def token_text(self, token: int) -> str:
        """The text of ``token`` by itself."""
        text: str = self._tokenizer.decode([token], skip_special_tokens=True)
        return text

    def _blocks(self, message: Message) -> list[tuple[str, str]]:
        if self._tools is not None:
            return self._tools.blocks(message)
        if message.tools or message.calls or message.results:
            raise EngineError("This model has no way to call functions; offer it no tools.")
        return [(message.role, message.text)]

    def answer(self, text: str, generated: Sequence[int]) -> list[int]:
        """Ids of ``text``, which may be the beginning of the text of ``generated``.

        The generated ids are kept as far as they agree at a token's end, because the model
        does not always choose the ids that a tokenizer would, and the cache holds its choice.
        """
        stream = TextStream(self._tokenizer)
        kept = heard = 0
        said = ""
        for position, token in enumerate(generated):
            if heard == len(text) or token in self.stop_ids:
                break
            if not (piece := stream.feed(token)):
                continue  # in the middle of a character
            said += piece
            if not text.startswith(said):
                break
            kept, heard = position + 1, len(said)
        return [*generated[:kept], *self._encode(text[heard:])]

    def plain(self, text: str) -> list[int]:
        """Ids of ``text`` as plain text: control tokens in it are text."""
        return self._encode(text)

    def stream(self) -> "TextStream":
        """A reader of one answer's ids."""
        return TextStream(self._tokenizer)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class TextStream:
    """Text of one answer, token by token; a character split over tokens comes when whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._tokens: list[int] = []
        self._read = ""

    def feed(self, token: int) -> str:
        """The text that ``token`` completes; may be empty."""
        self._tokens.append(token)
        text = self._stream.step(self._tokenizer, token) or ""
        self._read += text
        return text

    def finish(self) -> str:
        """End the answer: returns the replacement character if it ends within a character."""
        whole: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        return whole.removeprefix(self._read) if whole.startswith(self._read) else ""


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer does not know the stop token {token!r}")
    return found
