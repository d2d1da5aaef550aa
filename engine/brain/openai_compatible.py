"""Any OpenAI-compatible chat endpoint (vLLM, llama.cpp, Ollama, a hosted model) as a brain."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress

import httpx2

from engine.brain.chat_shape import ChatShape
from engine.brain.clips import ClippedSound
from engine.brain.interface import BrainError
from engine.brain.openai_chunks import DONE, read_data
from engine.brain.openai_request import Requests, encoded
from engine.brain.openai_stream import StreamedAnswer
from engine.remote.bodies import reason_of_body
from engine.remote.events import Event, read_events
from engine.remote.service import Refused, RemoteError, Service
from engine.types import GenerationOptions, Message, RawPiece, Sound

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
        shape: ChatShape | None = None,
        prefill_ahead: bool = False,
    ) -> None:
        """``timeout_s`` bounds the wait for a connection and for each piece of the stream.
        ``shape`` is how its model wants to be asked. With ``prefill_ahead`` it is shown what is
        known before an answer is asked for, so that its cache holds that then.

        Raises:
            RemoteError: the key or the environment's proxy cannot be used.
        """
        self.context_tokens = context_tokens
        self.prefill_ahead = prefill_ahead
        self._requests = Requests(model, shape or ChatShape(), context_tokens)
        self._service = Service("brain", base_url.rstrip("/"), api_key, timeout_s)

    @property
    def shape(self) -> ChatShape:
        """How its model wants to be asked."""
        return self._requests.shape

    def open(self) -> "OpenAISession":
        """Start a session; nothing is sent to the endpoint yet."""
        return OpenAISession(self._service, self._requests, prefill_ahead=self.prefill_ahead)

    def close(self) -> None:
        """Does nothing: connections belong to sessions."""


class OpenAISession:
    """A session of one call: a `BrainSession` that also takes sound (`ClippedSound`). It keeps its
    connection, but no state between answers, and has no cache of its own."""

    def __init__(self, service: Service, requests: Requests, *, prefill_ahead: bool) -> None:
        self._service = service
        self._requests = requests
        self._prefill_ahead = prefill_ahead
        self._client = service.connect()

    async def prefill(
        self, messages: Sequence[Message], partial: str | Sound | None = None
    ) -> None:
        """Have the endpoint read ``messages``, and the beginning of an open turn, for one token
        that nobody reads. Does nothing unless the brain prefills ahead.

        Raises:
            BrainError: the endpoint cannot be reached, or refuses.
            ContextExceeded: the last turn alone is too long for the context.
        """
        if not self._prefill_ahead:
            return
        assert partial is None or isinstance(partial, str | ClippedSound)
        request = self._requests.ahead(messages, partial)
        try:
            async with self._service.post(
                self._client, "chat/completions", content=encoded(request), headers=self._headers
            ) as response:
                async for _ in self._service.body(response):
                    pass  # to its end, so that the connection is used again
        except RemoteError as error:
            raise BrainError(self._service.safe(str(error))) from error

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """See `BrainSession`. Closing the generator closes the HTTP stream.

        Reasoning that the endpoint sends on a channel of its own comes as `Thought`. Sampling is
        that of the shape, whatever ``options`` say. The counts are the endpoint's; one that sends
        no usage gives zeros.

        Raises:
            BrainError: the endpoint cannot be reached, refuses, stalls or breaks off, or sends what
                cannot be read.
            ContextExceeded: the last turn alone is too long for the context.
        """
        shape = self._requests.shape
        request = self._requests.answer(messages, options)
        answer = StreamedAnswer(
            in_thought=shape.begins_in_thought(thinks=options.think_tokens > 0),
        )
        try:
            async with (
                self._service.post(
                    self._client,
                    "chat/completions",
                    content=encoded(request),
                    headers=self._headers,
                ) as response,
                aclosing(self._pieces(response, answer)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except (RemoteError, BrainError) as error:
            message = self._service.safe(str(error))
            if isinstance(error, Refused) and error.is_of_request and _has_sound(messages):
                message += " (it was sent the caller's sound, as brain.hears wants)"
            raise BrainError(message) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **self._requests.shape.headers}

    async def _pieces(
        self, response: httpx2.Response, answer: StreamedAnswer
    ) -> AsyncGenerator[RawPiece, None]:
        thoughts = self._requests.shape.thoughts
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
                    for chunk in read_data(event.data, thoughts):
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


def _has_sound(messages: Sequence[Message]) -> bool:
    return any(isinstance(m.sound, ClippedSound) and m.sound.clips for m in messages)
