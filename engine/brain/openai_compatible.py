"""Any OpenAI-compatible chat endpoint (vLLM, llama.cpp, Ollama, a hosted model) as a brain."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from engine.brain.context import kept_messages
from engine.brain.interface import BrainError
from engine.types import (
    CallArguments,
    CallEnded,
    CallPiece,
    CallRule,
    CallStarted,
    Finished,
    FinishReason,
    GenerationOptions,
    Message,
    RawPiece,
    Thought,
)

# Their tokenizer is not known here. Three UTF-8 bytes a token and eight for the markup is on
# the safe side for English; the endpoint's own error says so where it is not.
_BYTES_PER_TOKEN, _MARKUP_TOKENS = 3, 8
_NO_RESULT_YET = "There is no result yet."


class OpenAIBrain:
    """A client of ``base_url``; the endpoint holds the weights and any cache."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "none",
        context_tokens: int = 8192,
        timeout_s: float = 30.0,
    ) -> None:
        """``timeout_s`` bounds the wait for a connection and for each piece of the stream.

        Raises:
            ImportError: the package ``openai`` is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise ImportError("an OpenAI-compatible brain needs the package 'openai'") from error
        self.context_tokens = context_tokens
        self._model = model
        # A retry would only make the caller wait longer in silence.
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=0
        )

    def open(self) -> "OpenAISession":
        """Start a session; the endpoint is not asked anything yet."""
        return OpenAISession(self._client, self._model, self.context_tokens)

    def close(self) -> None:
        """Nothing to free: open connections belong to their answers and close with them."""


class OpenAISession:
    """One call's side of the endpoint. It has no cache of its own."""

    def __init__(self, client: Any, model: str, context_tokens: int) -> None:
        self._client = client
        self._model = model
        self._context_tokens = context_tokens

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
            BrainError: the endpoint cannot be reached, refuses, stalls or breaks off.
            ContextExceeded: the last turn alone is too long for the context.
        """
        import openai

        try:
            stream = await self._client.chat.completions.create(
                model=self._model,
                messages=_wire(self._shown(messages)),
                max_tokens=options.max_tokens,
                temperature=options.temperature,
                top_p=options.top_p,
                stream=True,
                stream_options={"include_usage": True},
                **_offer(messages, options.calls),
            )
            async with stream:
                async for piece in _pieces(stream):
                    yield piece
        except openai.APIStatusError as error:
            raise BrainError(f"the brain's endpoint says {error.status_code}") from error
        except openai.APITimeoutError as error:
            raise BrainError("the brain's endpoint does not answer in time") from error
        except openai.OpenAIError as error:
            raise BrainError(f"the connection to the brain's endpoint failed: {error}") from error

    async def close(self) -> None:
        """Nothing to free."""

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        lengths = [
            sum(len(text.encode()) for text in message.texts) // _BYTES_PER_TOKEN + _MARKUP_TOKENS
            for message in messages
        ]
        reserve = min(256, self._context_tokens // 4)
        system, first = kept_messages(messages, lengths, self._context_tokens - reserve)
        return [*messages[:system], *messages[first:]]


async def _pieces(stream: Any) -> AsyncGenerator[RawPiece, None]:
    reason: FinishReason | None = None
    calls = _CallDeltas()
    counts = (0, 0, 0)
    async for chunk in stream:
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details is not None else 0
            counts = (chunk.usage.prompt_tokens, cached, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            if thought := _thought(choice.delta):
                yield Thought(thought)  # whatever tags it talks about
            if text := choice.delta.content:
                yield text
            for delta in choice.delta.tool_calls or ():
                for piece in calls.take(delta):
                    yield piece
            if choice.finish_reason is not None:
                reason = "length" if choice.finish_reason == "length" else "stop"
    if reason is None:
        raise BrainError("the brain's endpoint broke off in the middle of the answer")
    if reason == "stop":
        for piece in calls.finish():
            yield piece
    yield Finished(reason, *counts)


class _CallDeltas:
    """Calls as they come in pieces, each with the index of its call."""

    def __init__(self) -> None:
        self._index: int | None = None  # of the open call
        self._id: str | None = None  # its own, if it has one

    def take(self, delta: Any) -> list[CallPiece]:
        """The next piece. An endpoint finishes a call before it begins another."""
        pieces: list[CallPiece] = []
        function = delta.function
        if function is None:
            return pieces
        is_other = delta.index != self._index or (delta.id and delta.id != self._id)
        if is_other and function.name:
            pieces += self.finish()
            self._index, self._id = delta.index, delta.id
            pieces.append(CallStarted(function.name))
        if function.arguments and self._index is not None:
            pieces.append(CallArguments(function.arguments))
        return pieces

    def finish(self) -> list[CallPiece]:
        """The open call is over."""
        is_open, self._index = self._index is not None, None
        return [CallEnded()] if is_open else []


def _thought(delta: Any) -> str:
    """Reasoning text, under either of the names that servers use."""
    extra = delta.model_extra or {}
    return extra.get("reasoning_content") or extra.get("reasoning") or ""


def _offer(messages: Sequence[Message], rule: CallRule) -> dict[str, Any]:
    """The request's fields about functions; none where there are no functions, because endpoints
    refuse an empty list."""
    tools = [tool.schema() for message in messages for tool in message.tools]
    if not tools:
        return {}
    choice: Any = "required" if rule.must else "auto"
    if rule.name is not None:
        choice = {"type": "function", "function": {"name": rule.name}}
    offer = {"tools": tools, "tool_choice": choice}
    return offer if rule.many else {**offer, "parallel_tool_calls": False}


def _wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation as endpoints want it: each call is followed at once by what it gave.

    A result that came later, after others had spoken, is told by the system where it came.
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
