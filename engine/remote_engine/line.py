"""A socket to an engine, of one call: frames go out in their order, and answers to who asked."""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from engine.brain.interface import BrainError
from engine.errors import ContextExceeded, EngineError
from engine.remote_engine import wire

logger = logging.getLogger(__name__)

_MAX_UNSENT_BYTES = 2 * wire.MAX_FRAME_BYTES  # an engine this far behind is given up
_CLOSE_S = 1.0  # for an engine to say goodbye


class LineLost(EngineError):
    """The engine's process is gone, or the way to it."""


class Asked:
    """A request that was sent."""

    def __init__(self, line: "Line", number: int) -> None:
        self.number = number
        self._line = line
        self._answers: asyncio.Queue[wire.FromEngine | None] = asyncio.Queue()
        self._is_over = False

    def put(self, frame: wire.FromEngine | None) -> None:
        """Take what came for it; None: nothing will come any more."""
        self._answers.put_nowait(frame)

    async def get(self) -> wire.Words | wire.Said | wire.HeardPassage | None:
        """The next answer; None: that was all.

        Raises:
            EngineError: the request failed.
            LineLost: the engine is gone.
        """
        frame = await self._answers.get()
        if frame is None:
            self._is_over = True
            raise LineLost("The engine was lost.")
        if isinstance(frame, wire.Failed):
            self._is_over = True
            raise (ContextExceeded if frame.is_context else BrainError)(frame.message)
        if isinstance(frame, wire.Done):
            self._is_over = True
            return None
        return frame

    def close(self) -> None:
        """Nobody waits for more: if there is more, the engine stops."""
        self._line.forget(self.number)
        if not self._is_over:
            self._is_over = True
            self._line.post(wire.Cancel(self.number))


class Line:
    """One call's socket."""

    def __init__(
        self, socket: ClientConnection, engine: str, is_leaving: Callable[[], bool]
    ) -> None:
        """``engine`` names the process. ``is_leaving``: it is about to stop."""
        self.engine = engine
        self.is_open = True  # until the engine is gone, or it is closed
        self.is_leaving = is_leaving
        self._socket = socket
        self._numbers = itertools.count(1)
        self._out: deque[bytes] = deque()
        self._unsent = 0  # bytes in `_out`
        self._wake = asyncio.Event()
        self._asked: dict[int, Asked] = {}
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked."""
        return not self._asked

    def post(self, frame: wire.Frame) -> None:
        """Have ``frame`` sent, after all that was posted before."""
        if not self.is_open:
            return
        data = wire.encode(frame)
        self._out.append(data)
        self._unsent += len(data)
        self._wake.set()
        if self._unsent > _MAX_UNSENT_BYTES:
            logger.error("an engine takes nothing: its call is given to another")
            self._socket.transport.abort()

    def ask(self, frame: Callable[[int], wire.Asking]) -> Asked:
        """Send a request. ``frame`` makes it, from its number."""
        asked = Asked(self, next(self._numbers))
        self.post(frame(asked.number))
        if self.is_open:
            self._asked[asked.number] = asked
        else:
            asked.put(None)
        return asked

    def forget(self, number: int) -> None:
        """Nobody waits for answers to this."""
        self._asked.pop(number, None)

    async def close(self) -> None:
        """Say goodbye."""
        self._lose()
        self._tasks[0].cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._socket.close()
        self._socket.transport.abort()
        self._tasks[1].cancel()
        await asyncio.wait(self._tasks)

    async def _send(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._out:
                    data = self._out.popleft()
                    self._unsent -= len(data)
                    await self._socket.send(data)

    async def _receive(self) -> None:
        try:
            async for data in self._socket:
                frame = wire.from_engine(data.encode() if isinstance(data, str) else data)
                if (asked := self._asked.get(frame.request)) is not None:
                    asked.put(frame)
        except ConnectionClosed as closed:
            logger.info("an engine is gone: %s", closed)
        except ValueError as error:
            logger.error("an engine says what cannot be read: %s", error)
            self._socket.transport.abort()
        finally:
            self._lose()

    def _lose(self) -> None:
        self.is_open = False
        self._out.clear()
        for asked in self._asked.values():
            asked.put(None)
        self._asked.clear()
