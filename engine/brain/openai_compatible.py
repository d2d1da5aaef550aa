"""Any OpenAI-compatible chat endpoint (vLLM, llama.cpp, Ollama, a hosted model) as a brain."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from engine.brain.context_window import kept_messages
from engine.brain.interface import BrainError
from engine.brain.openai_stream import StreamedAnswer, read_chunk
from engine.types import CallRule, GenerationOptions, Message, RawPiece

# The endpoint's tokenizer is not known here. Three UTF-8 bytes a token and eight tokens for the
# markup overestimate English; where they do not, the endpoint answers with an error of its own.
_BYTES_PER_TOKEN, _MARKUP_TOKENS = 3, 8
_NO_RESULT_YET = "There is no result yet."


class OpenAIBrain:
    """A client of the endpoint at ``base_url``, which holds the weights and any cache."""

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
        """Start a session; nothing is sent to the endpoint yet."""
        return OpenAISession(self._client, self._model, self.context_tokens)

    def close(self) -> None:
        """Does nothing: a connection belongs to its answer and closes with it."""


class OpenAISession:
    """A session of one call. It keeps no state between answers and has no cache of its own."""

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
                answer = StreamedAnswer()
                async for chunk in stream:
                    for piece in answer.feed(read_chunk(chunk)):
                        yield piece
                for piece in answer.finish():
                    yield piece
        except openai.APIStatusError as error:
            raise BrainError(f"the brain's endpoint says {error.status_code}") from error
        except openai.APITimeoutError as error:
            raise BrainError("the brain's endpoint does not answer in time") from error
        except openai.OpenAIError as error:
            raise BrainError(f"the connection to the brain's endpoint failed: {error}") from error

    async def close(self) -> None:
        """Does nothing: there is nothing to free."""

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
