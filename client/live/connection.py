"""The connection of a live call, taken up again when it drops, where the server offers that."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
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

RETRY_S = 0.5  # the least time from one try to the next
STEADY_S = 0.5  # a server that had nothing to tell is believed when it has stayed for so long
LOST = "(the connection is lost; trying to take the call up again, you are not heard meanwhile)"
BACK = "(the call goes on)"


class Connection:
    """A call on ``client``, which was opened with ``url`` and ``key``; ``say`` shows a person
    what becomes of it. One coroutine receives while others send. The one that receives is also the
    one that connects again: what it has to say itself goes by ``enqueue``, which never waits."""

    def __init__(
        self,
        client: RealtimeClient,
        url: str,
        key: str | None,
        say: Callable[[str], None],
        ca: Path | None = None,
    ) -> None:
        self._client = client
        self._url, self._key, self._ca, self._say = url, key, ca, say
        self._token: str | None = None  # set by the server's offer
        self._patience_s = 0.0  # set by the server's offer
        self._last_event = ""
        self._give_up_s: float | None = None  # set from a drop until the call goes on
        self._next_try_s = 0.0  # set by each try to connect again
        self._queued: deque[Mapping[str, Any]] = deque()  # few: `receive` sends them first
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
                await self._send_queued()
                async with asyncio.timeout(None if self._give_up_s is None else STEADY_S):
                    received = await self._client.receive()
            except TimeoutError:
                self._goes_on()
            except ConnectionDropped:
                if self._token is None:
                    raise
                await self._take_up(self._token)
            else:
                self._goes_on()
                self.note(received)
                return received

    def enqueue(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Events that the next ``receive`` sends before it waits, once there is a connection."""
        self._queued.extend(events)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send an event, once there is a connection. Not for the coroutine that receives.

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

    async def _send_queued(self) -> None:
        while self._queued and self._up.is_set():
            client = self._client
            try:
                await client.send(self._queued[0])
            except ConnectionDropped:
                self._note_drop(client)
            else:
                self._queued.popleft()

    def _note_drop(self, client: RealtimeClient) -> None:
        """``receive`` learns of it too, and connects again, if it has not done so already.

        Raises:
            ConnectionDropped: the call cannot be taken up.
        """
        if self._token is None:
            raise ConnectionDropped("the connection was lost")
        if client is self._client:
            self._up.clear()

    def _goes_on(self) -> None:
        if self._give_up_s is not None:
            self._give_up_s = None
            self._say(BACK)

    async def _take_up(self, token: str) -> None:
        """Connect again. A server that takes the call and drops it at once is no end of the
        outage: the patience is for the whole of it, and each try but the first waits.

        Raises:
            ConnectionLost: the patience is at its end, or the server refuses.
        """
        loop = asyncio.get_running_loop()
        self._up.clear()
        if self._give_up_s is None:
            self._give_up_s = loop.time() + self._patience_s
            self._say(LOST)
        try:
            async with asyncio.timeout_at(self._give_up_s):
                self._client = await self._connect_again(token)
        except TimeoutError as error:
            raise ConnectionLost("the connection was lost and did not come back") from error
        self._up.set()

    async def _connect_again(self, token: str) -> RealtimeClient:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._next_try_s - loop.time())
            self._next_try_s = loop.time() + RETRY_S
            try:
                return await take_up(self._url, token, self._last_event, key=self._key, ca=self._ca)
            except Unreachable:
                continue
