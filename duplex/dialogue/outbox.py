"""What waits to be sent to one client. Bounded; a reader that falls too far behind is dropped."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import islice

import msgspec

from duplex.errors import CallOverrun, ResumeError
from duplex.protocol.shapes import ServerMessage, bytes_of


@dataclass(frozen=True, slots=True)
class _Entry:
    message: ServerMessage
    size: int  # in bytes
    audio_of: str | None  # response id of an audio delta; None for all else


class Outbox:
    """Messages in order, as the call's shape writes them. Audio waits for room; control never
    waits, and never overflows silently: past the bound the call ends."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: deque[_Entry] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._changed = asyncio.Event()  # set when something was put, taken or closed
        self._closed = False

    def put(self, message: ServerMessage, audio_of: str | None = None) -> None:
        """Queue ``message``.

        Raises:
            CallOverrun: the client reads too slowly; more than ``max_bytes`` wait.
        """
        size = bytes_of(message)
        if self._bytes + size > self._max_bytes:
            raise CallOverrun(f"the client reads too slowly: {self._bytes} bytes wait to be sent")
        self._entries.append(_Entry(message, size, audio_of))
        self._bytes += size
        self._changed.set()

    async def room(self) -> None:
        """Wait until at most half of the bound is taken. Producers of audio call this first."""
        while self._bytes > self._max_bytes // 2:
            self._changed.clear()
            await self._changed.wait()

    def drop_audio(self, response_id: str) -> None:
        """Forget the queued audio of an interrupted reply."""
        self._entries = deque(e for e in self._entries if e.audio_of != response_id)
        self._bytes = sum(e.size for e in self._entries)
        self._changed.set()

    def close(self) -> None:
        """Let `take` return None, and `messages` end, once all that waits was taken."""
        self._closed = True
        self._changed.set()

    async def take(self) -> ServerMessage | None:
        """Return what was put first; None once closed and empty. Cancelling it loses nothing."""
        while not self._entries:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        entry = self._entries.popleft()
        self._bytes -= entry.size
        self._changed.set()
        return entry.message

    async def messages(self) -> AsyncGenerator[ServerMessage, None]:
        """Yield what was put, in order, until closed and empty."""
        while (message := await self.take()) is not None:
            yield message


class _Named(msgspec.Struct):
    event_id: str


class Journal:
    """The last messages that were sent over a socket, to be sent again over another one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._sent: deque[tuple[str, str]] = deque()  # event id and message

    def note(self, message: str) -> None:
        """``message`` is about to be sent. The oldest that no longer fit are forgotten."""
        event_id = msgspec.json.decode(message, type=_Named).event_id
        self._sent.append((event_id, message))
        self._bytes += len(message)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._sent.popleft()[1])

    def after(self, event_id: str) -> list[str]:
        """Return what was sent after the event of that id.

        Raises:
            ResumeError: it was never sent, or so long ago that it is forgotten.
        """
        for index in range(len(self._sent) - 1, -1, -1):
            if self._sent[index][0] == event_id:
                return [message for _, message in islice(self._sent, index + 1, None)]
        raise ResumeError("The event named by 'after' is not kept any more.")
