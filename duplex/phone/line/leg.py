"""The asyncio shell around a `PhoneLine`: reads and writes the provider's socket, and is itself the
socket of a call, over which typed events pass in place of JSON."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed

from duplex.dialogue.observers import Observers
from duplex.errors import ProtocolError
from duplex.logs import AnyLogger, call_logger
from duplex.phone.codec import PhoneCodec, Wire, refused
from duplex.phone.events import PhoneEvent, Started
from duplex.phone.line.actions import (
    Action,
    Announced,
    AnnouncementCut,
    CallFunction,
    Clear,
    HangUp,
    Say,
    SendEvent,
    Transfer,
)
from duplex.phone.line.line import PhoneLine
from duplex.phone.line.playout import Frame, Mark
from duplex.phone.speech import Speaker
from duplex.protocol.client_events import ClientEvent
from duplex.protocol.server_events import ServerEvent
from duplex.server.gate import POLICY_VIOLATION
from tts.errors import VoiceError

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024  # two seconds of the widest audio in base64; providers send 20 ms
_INBOX = 100  # events for the session, 2 s of audio; past it the provider has to wait
_REDIRECTED_S = 5.0  # for the provider to end a stream whose call it has redirected


class PhoneSocket(Protocol):
    """What a provider's messages pass over: a `duplex.server.gate.Gate`, or what looks like one."""

    @property
    def was_dropped(self) -> bool:
        """Whether nothing more is read from it."""

    @property
    def close_code(self) -> int | None:
        """How it was closed; None while it is open."""

    async def recv(self) -> Wire:
        """The next message.

        Raises:
            ConnectionClosed: there is none.
        """

    async def send(self, message: Wire) -> None:
        """Send a message."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End it."""

    async def wait_closed(self) -> None:
        """Until it is closed."""

    def abort(self) -> None:
        """End it without a word."""


class Switchboard(Protocol):
    """What can be done with a provider's call apart from its stream."""

    async def transfer(self, call: Started, number: str, log: AnyLogger) -> bool:
        """Connect the caller with ``number``; return whether that was accepted."""


class Functions(Protocol):
    """The functions of an assistant's own."""

    async def call(self, name: str, arguments: str, log: AnyLogger) -> str:
        """Call one; returns JSON, also of what went wrong, and if there is none of that name."""


class Leg:
    """One phone call's socket. Call `receive_start` first, then enter `running`; inside,
    `ResumableCall` uses it as it uses any client's socket."""

    def __init__(
        self,
        socket: PhoneSocket,
        codec: PhoneCodec,
        switchboard: Switchboard | None,
        stall_s: float,
        call_id: str,
    ) -> None:
        """``call_id`` is the call's, for the log. A provider that takes nothing for ``stall_s`` is
        hung up on."""
        self._log = call_logger(logger, call_id)
        self._socket = socket
        self._codec = codec
        self._switchboard = switchboard
        self._stall_s = stall_s
        self._clock = asyncio.get_running_loop().time
        self._call: Started  # set by `receive_start`
        self._line: PhoneLine  # set by `running`, as the four below
        self._speaker: Speaker
        self._functions: Functions
        self._observers: Observers
        self._tasks: asyncio.TaskGroup
        self._working: set[asyncio.Task[None]] = set()
        self._saying: asyncio.Task[None] | None = None
        # `_read` bounds what comes from the provider; what else is put there follows from what
        # the session itself sends.
        self._inbox: asyncio.Queue[ClientEvent | Exception] = asyncio.Queue()
        self._taken = asyncio.Event()  # set when the session has taken something
        self._outgoing: deque[Frame | Mark | Clear | HangUp] = deque()
        self._wake = asyncio.Event()  # set when something is outgoing, or the deadline is another

    async def receive_start(self) -> Started:
        """Return the provider's first event.

        Raises:
            ProtocolError: it is another one.
            ConnectionClosed: it sends none.
        """
        while True:
            for event in self._decode(await self._socket.recv()):
                if isinstance(event, Started):
                    self._call = event
                    return event

    @contextlib.asynccontextmanager
    async def running(
        self, line: PhoneLine, speaker: Speaker, functions: Functions, observers: Observers
    ) -> AsyncGenerator[None, None]:
        """Hold the line while the block runs; at its end, cancel all that the line has begun."""
        self._line, self._speaker, self._functions = line, speaker, functions
        self._observers = observers
        async with asyncio.TaskGroup() as self._tasks:
            self._spawn(self._read())
            self._spawn(self._write())
            try:
                yield
            finally:
                for task in self._working:
                    task.cancel()

    # As the socket of a `ResumableCall`.

    @property
    def was_dropped(self) -> bool:
        """See `PhoneSocket`."""
        return self._socket.was_dropped

    @property
    def close_code(self) -> int | None:
        """Of the provider's socket."""
        return self._socket.close_code

    async def recv(self) -> ClientEvent:
        """Return the next event for the session.

        Raises:
            ConnectionClosed: the line is gone.
        """
        message = await self._inbox.get()
        self._taken.set()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: ServerEvent) -> None:
        """Take an event of the session."""
        self._perform(self._line.handle_server_event(message, self._clock()))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Hang up at once."""
        await self._socket.close(code, reason)

    async def wait_closed(self) -> None:
        """Until the provider's socket is closed."""
        await self._socket.wait_closed()

    def abort(self) -> None:
        """Hang up without a word."""
        self._socket.abort()

    # The two ends of the line.

    async def _read(self) -> None:
        try:
            while True:
                for event in self._decode(await self._socket.recv()):
                    self._perform(self._line.handle_phone_event(event, self._clock()))
                while self._inbox.qsize() >= _INBOX:
                    self._taken.clear()
                    await self._taken.wait()
        except ProtocolError as error:
            self._log.info("its phone line was closed: %s", error.code)
            await self._socket.close(POLICY_VIOLATION, "not what belongs there")
            await self._read()  # to its end

    def _decode(self, message: Wire) -> Sequence[PhoneEvent]:
        if len(message) > MAX_MESSAGE_BYTES:
            raise refused("a message is too large")
        return self._codec.receive(message)

    async def _write(self) -> None:
        """Send what is outgoing, and what falls due, at its time."""
        while True:
            while self._outgoing:
                await self._transmit(self._outgoing.popleft())
            self._wake.clear()
            due_s = self._line.due_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._wake.wait()
            self._perform(self._line.tick(self._clock()))

    async def _transmit(self, action: Frame | Mark | Clear | HangUp) -> None:
        message: Wire | None
        match action:
            case Frame(audio):
                message = self._codec.play(audio)
            case Mark(name):
                message = self._codec.mark(name)
            case Clear():
                message = self._codec.clear()
            case HangUp():
                message = self._codec.hang_up()
        try:
            async with asyncio.timeout(self._stall_s):
                if message is not None:
                    await self._socket.send(message)
        except TimeoutError:
            self.abort()
        if isinstance(action, HangUp):
            await self._socket.close()

    def _perform(self, actions: Iterable[Action]) -> None:
        encoding = self._call.encoding
        for action in actions:
            match action:
                case SendEvent(event):
                    self._inbox.put_nowait(event)
                case Say(text):
                    if self._saying is not None:
                        self._saying.cancel()
                    self._saying = self._spawn(self._say(text))
                case Announced(item_id, audio):
                    rate_hz, samples = encoding.rate_hz, encoding.codec.decode(audio)
                    self._observers.said(item_id, samples, rate_hz, ())
                case AnnouncementCut(item_id, heard_samples, words):
                    self._observers.cut(item_id, heard_samples / encoding.rate_hz, words)
                case Transfer(number):
                    self._spawn(self._transfer(number))
                case CallFunction(name, arguments, call_id):
                    self._spawn(self._call_function(name, arguments, call_id))
                case Clear():
                    kept = (a for a in self._outgoing if not isinstance(a, Frame | Mark))
                    self._outgoing = deque(kept)
                    self._outgoing.append(action)
                case _:
                    self._outgoing.append(action)
        self._wake.set()

    async def _say(self, text: str) -> None:
        try:
            async for audio, words in self._speaker.say(text):
                self._perform(self._line.announce(audio, words, self._clock(), is_last=False))
        except VoiceError:  # the words are lost, the call is not
            self._log.warning("the voice failed to say what the line has to")
        self._perform(self._line.announce(b"", (), self._clock(), is_last=True))

    async def _call_function(self, name: str, arguments: str, call_id: str) -> None:
        result = await self._functions.call(name, arguments, self._log)
        self._perform(self._line.function_returned(call_id, result))

    async def _transfer(self, number: str) -> None:
        if self._switchboard is None or not await self._switchboard.transfer(
            self._call, number, self._log
        ):
            self._perform(self._line.transfer_failed(self._clock()))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REDIRECTED_S):
                await self._socket.wait_closed()
        await self._socket.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(self._guarded(work))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Have an error here end this call: `recv` raises it."""
        try:
            await work
        except Exception as error:
            if not isinstance(error, ConnectionClosed):
                self._log.debug("its phone line failed", exc_info=True)
            self._inbox.put_nowait(error)
