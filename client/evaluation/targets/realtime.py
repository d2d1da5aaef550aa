"""Any server that speaks the OpenAI Realtime protocol: a call of its own for each question.

The client commits the turns itself (``turn_detection`` null) and sends sound as fast as it is
taken. Sound goes through the input buffer, text is a message; their order is the item's.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from client.evaluation.items import RATE_HZ, Answer, Item
from client.evaluation.scorers import split_thought
from client.evaluation.targets.target import Rendered
from client.realtime import (
    ConnectionLost,
    Output,
    RealtimeClient,
    Received,
    Refused,
    SessionOptions,
    connect,
    error_text,
    realtime_url,
)
from duplex.audio.formats import decode_pcm16

PACKET_SAMPLES = RATE_HZ // 10
BUSY_WAITS_S = (1.0, 4.0, 16.0)
TAIL_SAMPLES = RATE_HZ // 2  # silence behind a recording, as a caller leaves it


@dataclass(frozen=True, slots=True)
class RealtimeOptions:
    """How a server is asked. ``duplex``: it is one of this project, and is asked for its
    thoughts. ``timeout_s`` bounds one question, from connecting to the end of the answer."""

    key: str | None = None
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    duplex: bool = True
    output: Output = "text"
    timeout_s: float = 300.0


class RealtimeTarget:
    """A server; see the module. ``url`` is what a person types."""

    def __init__(self, url: str, options: RealtimeOptions) -> None:
        self._url = realtime_url(url, options.model)
        self._options = options

    async def ask(self, item: Item, sounds: Rendered) -> Answer:
        """See `Target`. A server that is not there, or takes no calls, is an error of the run."""
        options = self._options
        client = await self._connect()
        answer = _Collector(asyncio.get_running_loop().time)
        try:
            async with asyncio.timeout(options.timeout_s):
                await _hold(client, item, sounds, options, answer)
        except TimeoutError:
            answer.fail(f"no whole answer within {options.timeout_s:g} s")
        finally:
            await client.close()
        return answer.result()

    async def _connect(self) -> RealtimeClient:
        """A server that is full is asked again a little later."""
        for wait_s in (*BUSY_WAITS_S, None):
            try:
                return await connect(
                    self._url, key=self._options.key, headers=self._options.headers
                )
            except Refused:
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")


async def _hold(
    client: RealtimeClient,
    item: Item,
    sounds: Rendered,
    options: RealtimeOptions,
    answer: "_Collector",
) -> None:
    """Ask and listen at the same time: a server may not take all of a recording before its first
    events are read."""

    async def listen() -> None:
        while not answer.is_over:
            answer.receive(await client.receive())

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_send(client, item, sounds, options, answer))
            both.create_task(listen())
    except* ConnectionLost as lost:
        answer.fail(str(lost.exceptions[0]))


async def _send(
    client: RealtimeClient,
    item: Item,
    sounds: Rendered,
    options: RealtimeOptions,
    answer: "_Collector",
) -> None:
    """Everything that is asked, in order: the server does it in that order, too."""
    session = SessionOptions(
        instructions=item.instructions,
        duplex=options.duplex,
        thoughts=options.duplex,
        manual_turns=True,
        output=options.output,
    )
    await client.send(session.update())
    for index, part in enumerate(item.parts):
        if isinstance(part, str):
            content = [{"type": "input_text", "text": part}]
            message = {"type": "message", "role": "user", "content": content}
            await client.send({"type": "conversation.item.create", "item": message})
        else:
            samples = np.concatenate([sounds[index], np.zeros(TAIL_SAMPLES, np.float32)])
            for start in range(0, len(samples), PACKET_SAMPLES):
                await client.append(samples[start : start + PACKET_SAMPLES])
            await client.send({"type": "input_audio_buffer.commit"})
    answer.asked()
    await client.send({"type": "response.create"})


class _Collector:
    """Makes an `Answer` of a server's events, in either spelling of the protocol's text events."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_s: float | None = None
        self._pieces: dict[str, list[str]] = {"text": [], "thought": [], "heard": []}
        self._pcm = bytearray()
        self._first: dict[str, float] = {}
        self._done_ms: float | None = None
        self._tokens: dict[str, int] = {}
        self._is_cut = False
        self._error: str | None = None
        self.is_over = False

    def asked(self) -> None:
        """The answer is asked for now."""
        self._asked_s = self._clock()

    def fail(self, words: str) -> None:
        """There is nothing more to come."""
        self._error = words
        self.is_over = True

    def receive(self, received: Received) -> None:
        """Take in one event."""
        event = received.event
        match event.get("type"):
            case "error":
                self.fail(error_text(event))
            case "response.output_text.delta" | "response.output_audio_transcript.delta":
                self._note("text", received.at_s)
                self._pieces["text"].append(str(event.get("delta", "")))
            case "response.output_audio.delta":
                self._note("audio", received.at_s)
                self._pcm += base64.b64decode(event.get("delta", ""))
            case "duplex.thought.delta":
                self._pieces["thought"].append(str(event.get("delta", "")))
            case "conversation.item.input_audio_transcription.completed":
                self._pieces["heard"].append(str(event.get("transcript", "")).strip())
            case "response.done":
                self._done(event.get("response") or {}, received.at_s)

    def result(self) -> Answer:
        """What there is."""
        thought, text = split_thought("".join(self._pieces["text"]))
        return Answer(
            text=text,
            thought="".join(self._pieces["thought"]).strip() or thought,
            heard=" ".join(self._pieces["heard"]),
            first_text_ms=self._first.get("text"),
            first_audio_ms=self._first.get("audio"),
            done_ms=self._done_ms,
            tokens=self._tokens,
            samples=decode_pcm16(bytes(self._pcm)) if self._pcm else None,
            is_cut=self._is_cut,
            error=self._error,
        )

    def _note(self, what: str, at_s: float) -> None:
        if self._asked_s is not None:
            self._first.setdefault(what, _ms(at_s - self._asked_s))

    def _done(self, response: Mapping[str, Any], at_s: float) -> None:
        self.is_over = True
        if self._asked_s is not None:
            self._done_ms = _ms(at_s - self._asked_s)
        usage = response.get("usage") or {}
        self._tokens = {
            name: usage[name] for name in ("input_tokens", "output_tokens") if name in usage
        }
        self._is_cut = response.get("status") == "incomplete"
        if response.get("status") not in ("completed", "incomplete", None):
            details = response.get("status_details") or {}
            why = (details.get("error") or {}).get("message") or details.get("reason") or ""
            self._error = f"the response is {response['status']}: {why}".rstrip(": ")


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
