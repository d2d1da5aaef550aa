"""A chat endpoint on a real socket that takes sound: it notes what it hears and when."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests._support.endpoint import Endpoint, chunk, endpoint, events, status

MODELS = {"/v1/models": status(200, '{"data": [{"id": "a-model"}]}')}


@dataclass
class HearingEndpoint:
    """What it was asked, and how it answers."""

    says: Callable[[dict[str, Any]], list[str]]  # the data of the events that answer a request
    ahead_s: float = 0.0  # how long a request for one token takes
    served: Endpoint = field(init=False)  # set while it runs
    ahead: list[dict[str, Any]] = field(default_factory=list)  # the bodies of such requests
    asked: list[dict[str, Any]] = field(default_factory=list)  # of all others
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0  # requests for one token that the client gave up

    async def reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the newest request."""
        request = self.served.requests[-1].json
        is_ahead = request.get("max_tokens") == 1
        (self.ahead if is_ahead else self.asked).append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if is_ahead and self.ahead_s and await _left(reader, self.ahead_s):
                self.cancelled += 1
                return
            await events(*self.says(request))(reader, writer)
        finally:
            self.in_flight -= 1


async def _left(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the client hangs up."""
    try:
        async with asyncio.timeout(within_s):
            return not await reader.read(1)
    except TimeoutError:
        return False


def saying(*pieces: str) -> Callable[[dict[str, Any]], list[str]]:
    """An answer to everything."""
    data = [*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop")]
    return lambda _: data


@asynccontextmanager
async def hearing_endpoint(
    says: Callable[[dict[str, Any]], list[str]], ahead_s: float = 0.0
) -> AsyncIterator[HearingEndpoint]:
    """Serve until the block ends."""
    hearing = HearingEndpoint(says, ahead_s)
    async with endpoint(hearing.reply, pages=MODELS) as hearing.served:
        yield hearing


def recordings(message: dict[str, Any]) -> list[NDArray[np.int16]]:
    """The recordings in a message of a request, as samples at 16 kHz."""
    content = message["content"]
    parts = content if isinstance(content, list) else []
    return [_samples(part["input_audio"]) for part in parts if part["type"] == "input_audio"]


def _samples(audio: dict[str, str]) -> NDArray[np.int16]:
    assert audio["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(audio["data"], validate=True))) as file:
        assert file.getparams()[:3] == (1, 2, 16_000), json.dumps(file.getparams())
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")
