"""Any OpenAI-compatible chat endpoint (vLLM, llama.cpp, Ollama, a hosted model) as a brain."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

import httpx2

from engine.brain.context_window import kept_messages
from engine.brain.interface import BrainError
from engine.brain.openai_chunks import DONE, read_data
from engine.brain.openai_stream import StreamedAnswer
from engine.remote.bodies import reason_of_body
from engine.remote.events import Event, read_events
from engine.remote.service import RemoteError, Service
from engine.types import CallRule, GenerationOptions, Message, RawPiece

# The endpoint's tokenizer is not known here. Three UTF-8 bytes a token and eight tokens for the
# markup overestimate English; where they do not, the endpoint answers with an error of its own.
_BYTES_PER_TOKEN, _MARKUP_TOKENS = 3, 8
_NO_RESULT_YET = "There is no result yet."
_SIGNS_OF_LIFE = 4  # waits of `timeout_s` in which nothing but comments may come
_COUNTS_S = 2.0  # for the counts, which come after the end of an answer
_LAST_BYTES_S = 0.05  # a connection whose body was read to its end is used again


class OpenAIBrain:
    """A client of the endpoint at ``base_url``, which holds the weights and any cache."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "",
        context_tokens: int = 8192,
        timeout_s: float = 30.0,
    ) -> None:
        """``timeout_s`` bounds the wait for a connection and for each piece of the stream.

        Raises:
            RemoteError: the key or the environment's proxy cannot be used.
        """
        self.context_tokens = context_tokens
        self._model = model
        self._service = Service("brain", base_url.rstrip("/"), api_key, timeout_s)

    def open(self) -> "OpenAISession":
        """Start a session; nothing is sent to the endpoint yet."""
        return OpenAISession(self._service, self._model, self.context_tokens)

    def close(self) -> None:
        """Does nothing: connections belong to sessions."""


class OpenAISession:
    """A session of one call. It keeps its connection, but no state between answers, and has no
    cache of its own."""

    def __init__(self, service: Service, model: str, context_tokens: int) -> None:
        self._service = service
        self._model = model
        self._context_tokens = context_tokens
        self._client = service.connect()

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        """Does nothing: the protocol has no prefill."""

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """See `BrainSession`. Closing the generator closes the HTTP stream.

        Reasoning that the endpoint sends on a channel of its own comes as `Thought`.
        ``repetition_penalty`` is not part of the protocol and is not sent. The counts are the
        endpoint's; one that sends no usage gives zeros.

        Raises:
            BrainError: the endpoint cannot be reached, refuses, stalls or breaks off, or sends what
                cannot be read.
            ContextExceeded: the last turn alone is too long for the context.
        """
        request = {
            "model": self._model,
            "messages": _wire(self._shown(messages)),
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
            **_offer(messages, options.calls),
        }
        try:
            async with (
                self._service.post(self._client, "chat/completions", json=request) as response,
                aclosing(self._pieces(response)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except (RemoteError, BrainError) as error:
            raise BrainError(self._service.safe(str(error))) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _pieces(self, response: httpx2.Response) -> AsyncGenerator[RawPiece, None]:
        answer = StreamedAnswer()
        is_done = False
        async with aclosing(read_events(self._service, response)) as events:
            while not is_done and (event := await self._next(events, answer)) is not None:
                if event.type == "error":
                    raise BrainError(
                        "the brain's endpoint reports an error: "
                        + reason_of_body(event.data.encode("utf-8", "replace"))
                    )
                is_done = event.data.strip(" \"'") == DONE
                if not is_done:
                    for chunk in read_data(event.data):
                        for piece in answer.feed(chunk):
                            yield piece
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_BYTES_S):
                    await anext(events, None)
        for piece in answer.finish(done=is_done):
            yield piece

    async def _next(self, events: AsyncIterator[Event], answer: StreamedAnswer) -> Event | None:
        """The next event; None after the last. Behind its end an answer lacks nothing but counts,
        and waits for no more."""
        try:
            async with asyncio.timeout(
                _COUNTS_S if answer.is_ended else _SIGNS_OF_LIFE * self._service.timeout_s
            ):
                return await anext(events, None)
        except (TimeoutError, RemoteError) as error:
            if answer.is_ended:
                return None
            if isinstance(error, RemoteError):
                raise
            raise BrainError("the brain's endpoint does not answer in time") from error

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        lengths = [
            sum(len(text.encode()) for text in message.texts) // _BYTES_PER_TOKEN + _MARKUP_TOKENS
            for message in messages
        ]
        reserve = min(256, self._context_tokens // 4)
        system, first = kept_messages(messages, lengths, self._context_tokens - reserve)
        return [*messages[:system], *messages[first:]]


def _offer(messages: Sequence[Message], rule: CallRule) -> dict[str, Any]:
    """The fields of the request that offer functions. There are none without functions, because
    endpoints refuse an empty list."""
    tools = [tool.schema() for message in messages for tool in message.tools]
    if not tools:
        return {}
    choice: Any = "required" if rule.must else "auto"
    if not rule.may:
        choice = "none"
    elif rule.name is not None:
        choice = {"type": "function", "function": {"name": rule.name}}
    offer = {"tools": tools, "tool_choice": choice}
    return offer if rule.many else {**offer, "parallel_tool_calls": False}


def _wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation in the protocol's form, in which the result of each call follows it at once.

    A result that came later, after other messages, becomes a system message at its place.
    """
    wire: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.calls:
            following = messages[index + 1] if index + 1 < len(messages) else None
            results = following.results if following is not None else ()
            wire += _wire_calls(message, {result.call_id: result.output for result in results})
        elif message.results:
            asked = messages[index - 1].calls if index else ()
            answered = {call.call_id for call in asked}
            wire += [
                {"role": "system", "content": f"{result.name} has returned: {result.output}"}
                for result in message.results
                if result.call_id not in answered
            ]
        else:
            wire.append({"role": message.role, "content": message.text})
    return wire


def _wire_calls(message: Message, outputs: Mapping[str, str]) -> list[dict[str, Any]]:
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.calls
    ]
    said = {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    results = [
        {
            "role": "tool",
            "tool_call_id": call.call_id,
            "content": outputs.get(call.call_id, _NO_RESULT_YET),
        }
        for call in message.calls
    ]
    return [said, *results]
