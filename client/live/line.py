"""The connection of a live call, taken up again when it drops, where the server offers that."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.realtime import (
    ConnectionDropped,
    ConnectionLost,
    RealtimeClient,
    Received,
    Unreachable,
    take_up,
)

RETRY_S = 0.5
LOST = "(the connection is lost; trying to take the call up again, you are not heard meanwhile)"
BACK = "(the call goes on)"


class Line:
    """A call on ``client``, which was opened with ``url`` and ``key``; ``say`` shows a person
    what becomes of it. One coroutine receives while others send."""

    def __init__(
        self, client: RealtimeClient, url: str, key: str | None, say: Callable[[str], None]
    ) -> None:
        self._client = client
        self._url, self._key, self._say = url, key, say
        self._token: str | None = None  # set by the server's offer
        self._patience_s = 0.0  # set by the server's offer
        self._last_event = ""
        self._up = asyncio.Event()
        self._up.set()

    def note(self, received: Received) -> None:
        """An event that was received: what is needed to go on after it."""
        event = received.event
        self._last_event = str(event.get("event_id", self._last_event))
        if event.get("type") == "duplex.resume":
            self._token = str(event.get("token", ""))
            self._patience_s = float(event.get("resume_s", 0.0))

    async def receive(self) -> Received:
        """Wait for the next event, and for the connection if need be.

        Raises:
            ConnectionLost: the call is over.
        """
        while True:
            try:
                received = await self._client.receive()
            except ConnectionDropped:
                if self._token is None:
                    raise
                await self._take_up(self._token)
            else:
                self.note(received)
                return received

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send an event, once there is a connection.

        Raises:
            ConnectionLost: the call is over.
        """
        while True:
            await self._up.wait()
            client = self._client
            try:
                return await client.send(event)
            except ConnectionDropped:
                self._note_drop(client)

    async def append(self, samples: NDArray[np.float32]) -> None:
        """Send audio; while the connection is lost it is dropped, as the caller has been told.

        Raises:
            ConnectionLost: the call is over.
        """
        if self._up.is_set():
            client = self._client
            try:
                await client.append(samples)
            except ConnectionDropped:
                self._note_drop(client)

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()

    def _note_drop(self, client: RealtimeClient) -> None:
        """``receive`` learns of it too, and connects again, if it has not done so already.

        Raises:
            ConnectionDropped: the call cannot be taken up.
        """
        if self._token is None:
            raise ConnectionDropped("the connection was lost")
        if client is self._client:
            self._up.clear()

    async def _take_up(self, token: str) -> None:
        self._up.clear()
        self._say(LOST)
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        self._client = await take_up(
                            self._url, token, self._last_event, key=self._key
                        )
                        break
                    except Unreachable:
                        await asyncio.sleep(RETRY_S)
        except TimeoutError as error:
            raise ConnectionLost("the connection was lost and did not come back") from error
        self._up.set()
        self._say(BACK)
