"""What waits to be sent to one client. Bounded; a reader that falls too far behind is dropped."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from duplex.errors import CallOverrun


@dataclass(frozen=True, slots=True)
class _Entry:
    message: str
    audio_of: str | None  # response id of an audio delta; None for all else


class Outbox:
    """Encoded events in order. Audio waits for room; control never waits, and never overflows
    silently: past the bound the call ends."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: deque[_Entry] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._changed = asyncio.Event()  # set when something was put, taken or closed
        self._closed = False

    def put(self, message: str, audio_of: str | None = None) -> None:
        """Queue ``message``.

        Raises:
            CallOverrun: the client reads too slowly; more than ``max_bytes`` wait.
        """
        if self._bytes + len(message) > self._max_bytes:
            raise CallOverrun(f"the client reads too slowly: {self._bytes} bytes wait to be sent")
        self._entries.append(_Entry(message, audio_of))
        self._bytes += len(message)
        self._changed.set()

    async def room(self) -> None:
        """Wait until at most half of the bound is taken. Producers of audio call this first."""
        while self._bytes > self._max_bytes // 2:
            self._changed.clear()
            await self._changed.wait()

    def drop_audio(self, response_id: str) -> None:
        """Forget the queued audio of an interrupted reply."""
        self._entries = deque(e for e in self._entries if e.audio_of != response_id)
        self._bytes = sum(len(e.message) for e in self._entries)
        self._changed.set()

    def close(self) -> None:
        """Let `messages` end once all that waits was taken."""
        self._closed = True
        self._changed.set()

    async def messages(self) -> AsyncGenerator[str, None]:
        """Yield what was put, in order, until closed and empty."""
        while True:
            while self._entries:
                entry = self._entries.popleft()
                self._bytes -= len(entry.message)
                self._changed.set()
                yield entry.message
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()
