"""A call and the socket that it is held over, which may be lost and replaced."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from msgspec import structs
from websockets.exceptions import ConnectionClosed

from duplex.config import AssistantConfig, Config
from duplex.dialogue.assistants import as_assistant
from duplex.dialogue.observers import CallInfo, Observe, observers_of
from duplex.dialogue.outbox import Journal, Outbox
from duplex.dialogue.parts import Parts
from duplex.dialogue.session import Session
from duplex.errors import CallOverrun, ResumeError
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.protocol.server_events import ResumeOffered, server_error
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import ClientMessage, ServerMessage, ShapeName, bytes_of
from duplex.server.gate import POLICY_VIOLATION
from duplex.server.keys import Principal

logger = logging.getLogger(__name__)

_NORMAL = 1000
_INTERNAL_ERROR = 1011
_FIRM_S = 1.0  # for the message that is being obeyed when the call is to end
_FAREWELL_S = 2.0  # for the last events to be taken


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a call ends. ``kind`` is for the metrics; without ``error`` the client knows already."""

    kind: str
    code: int = _NORMAL  # of the WebSocket
    reason: str = ""
    error: Code | None = None


HUNG_UP = Ending("hung_up")
DROPPED = Ending("dropped", POLICY_VIOLATION)
NOT_RESUMED = Ending("not_resumed")
IDLE = Ending("idle", POLICY_VIOLATION, "nothing was received for too long", Code.CALL_OVER)
TOO_LONG = Ending("too_long", POLICY_VIOLATION, "the call has lasted too long", Code.CALL_OVER)
FAULT = Ending("fault", _INTERNAL_ERROR, "internal error", Code.SERVER_ERROR)


class Socket(Protocol):
    """What a call is held over: a `Gate`, or a client in the same process that looks like one.
    The call's shape says what passes over it."""

    @property
    def was_dropped(self) -> bool:
        """Whether nothing more is read from it."""

    @property
    def close_code(self) -> int | None:
        """How it was closed; None while it is open."""

    async def recv(self) -> ClientMessage:
        """Return the client's next message.

        Raises:
            ConnectionClosed: there is none.
        """

    async def send(self, message: Any) -> None:
        """Send a message in the call's shape: text over a `Gate`, an event in the same process."""

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Close it."""

    async def wait_closed(self) -> None:
        """Wait until it is closed."""

    def abort(self) -> None:
        """Close it at once."""


class ResumableCall:
    """One call from its admission to its end: `run` is its life, `hold` lends it a socket."""

    def __init__(
        self,
        call_id: str,
        config: Config,
        parts: Parts,
        metrics: Metrics,
        principal: Principal,
        start: SessionConfig,
        *,
        shape: ShapeName,
        info: CallInfo,
        observe: Sequence[Observe] = (),
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.call_id = call_id
        self.principal = principal
        self.info = info
        self.observers = observers_of(info, observe, clock)
        self._log = call_logger(logger, call_id)
        self._config = config.server
        self._metrics = metrics
        self._outbox = Outbox(config.server.max_outbox_bytes)
        self._session = Session(
            call_id,
            config,
            parts,
            self._outbox,
            clock=clock,
            shape=shape,
            start=start,
            metrics=metrics,
            offer_resume=self._offer_resume,
            observers=self.observers,
        )
        # It names the server that holds the call, so that a proxy, or another server, finds it.
        edge = f"{config.store.edge}." if config.store.edge else ""
        self._token = edge + secrets.token_urlsafe(32)
        self._journal: Journal | None = None  # set when the client asks for a resumable call
        self._socket: Socket | None = None  # set while there is one
        self._attached = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None  # sends to `_socket`
        self._ending: Ending | None = None  # set when the call is to end
        self._patience: asyncio.Timeout | None = None  # set while the client is waited for
        self._obeying: asyncio.Task[None] | None = None  # set when the call runs
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def token_digest(self) -> bytes:
        """The key by which `CallRegistry.find` finds the call when it is taken up again."""
        return token_digest(self._token)

    @property
    def is_quiet(self) -> bool:
        """Whether it could end now without cutting anybody short."""
        return self._session.is_quiet

    @property
    def phase(self) -> str:
        """See `Dialogue.phase`."""
        return self._session.phase

    def end(self, ending: Ending) -> None:
        """End the call: after the message that is being obeyed, or in the middle of it if that
        takes too long, as minutes of audio do."""
        if self._ending is not None:
            return
        self._ending = ending
        loop = asyncio.get_running_loop()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(loop.time())
        if self._obeying is not None:
            self._timers.append(loop.call_later(_FIRM_S, self._obeying.cancel))

    async def run(self) -> None:
        """Obey the client over the socket that is there, until the call ends. An error in the
        call ends only this call."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self._config.max_call_s, self.end, TOO_LONG))
        self._obeying = asyncio.create_task(self._session.run(self._messages()))
        try:
            await asyncio.wait([self._obeying])
            ending = self._outcome(self._obeying)
            self._ending = ending  # from here on it cannot be taken up again
        finally:
            self._obeying.cancel()  # if this is cancelled itself
            for timer in self._timers:
                timer.cancel()
            self.observers.ended((self._ending or FAULT).kind)
        self._log.info("ended: %s", ending.kind)
        self._metrics.count("duplex_calls_ended_total", reason=ending.kind)
        await self._part(ending)

    def _outcome(self, obeying: asyncio.Task[None]) -> Ending:
        if obeying.cancelled():
            return self._ending or FAULT
        fault = obeying.exception()
        if fault is None:
            return self._ending or HUNG_UP
        error = _innermost(fault)
        if isinstance(error, CallOverrun):
            return Ending("overrun", POLICY_VIOLATION, str(error), Code.RATE_LIMIT)
        self._log.error("failed", exc_info=fault)
        return FAULT

    async def hold(self, socket: Socket, after: str | None = None) -> None:
        """Use ``socket`` until it is closed. With ``after`` it takes the place of the one before,
        and its client is sent what followed that event.

        Raises:
            ResumeError: that is not possible; the call goes on as it was.
        """
        missed: Sequence[str] = ()
        if after is not None:
            if self._journal is None or self._ending is not None:
                raise ResumeError("The call is over.")
            missed = self._journal.after(after)
            before = self._socket
            if before is not None:  # it is dead, or its client has two
                self._let_go()
                before.abort()
        self._socket = socket
        self._writer = asyncio.create_task(self._write(socket, missed))
        self._attached.set()
        await socket.wait_closed()
        if socket is self._socket and not self._may_return(socket):
            self.end(DROPPED if socket.was_dropped else HUNG_UP)

    def _offer_resume(self) -> ResumeOffered:
        if self._journal is None:
            self._journal = Journal(self._config.resume_bytes)
        return ResumeOffered(token=self._token, resume_s=self._config.resume_s)

    async def _messages(self) -> AsyncGenerator[ClientMessage, None]:
        """Yield what the client sends, over one socket after the other, until the call ends."""
        while self._ending is None:
            socket = self._socket
            try:
                message = await self._next(socket)
            except TimeoutError:
                self._ending = self._ending or (NOT_RESUMED if socket is None else IDLE)
            except ConnectionClosed:
                assert socket is not None
                self._lose(socket)
            else:
                # One that has sent thousands of small messages shares the loop all the same.
                await asyncio.sleep(0)
                if socket is not None and socket.was_dropped:
                    self._ending = self._ending or DROPPED  # what is left of its flood is not read
                elif message is not None:
                    yield message

    async def _next(self, socket: Socket | None) -> ClientMessage | None:
        """The client's next message; None when there is a socket where there was none.

        Raises:
            TimeoutError: nothing came for too long, or the call is to end.
            ConnectionClosed: the socket is gone.
        """
        patience_s = self._config.resume_s if socket is None else self._config.idle_timeout_s
        try:
            async with asyncio.timeout(patience_s) as self._patience:
                if socket is not None:
                    return await socket.recv()
                await self._attached.wait()
                return None
        finally:
            self._patience = None

    def _lose(self, socket: Socket) -> None:
        """The socket is gone; the call goes on if its client may come back."""
        if socket is not self._socket:  # another has taken its place
            return
        if self._may_return(socket):
            self._log.info("lost its socket")
            self._let_go()
        else:
            self._ending = self._ending or (DROPPED if socket.was_dropped else HUNG_UP)

    def _may_return(self, socket: Socket) -> bool:
        """Whether the client of a closed socket may come back with another."""
        return self._journal is not None and not socket.was_dropped and socket.close_code != _NORMAL

    def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
        self._socket = self._writer = None
        self._attached.clear()

    async def _write(self, socket: Socket, missed: Sequence[str]) -> None:
        """Send what was missed and what is queued. A client that has gone ends its call by its
        silence on the other side, so nothing is done about it here."""
        try:
            for message in missed:
                await self._send(socket, message)
            while (queued := await self._outbox.take()) is not None:
                if self._journal is not None and isinstance(queued, str):
                    self._journal.note(queued)
                await self._send(socket, queued)
        except ConnectionClosed:
            pass
        except TimeoutError:
            self._log.info("its client takes nothing")
            self._metrics.count("duplex_dropped_total", reason="stalled")
            socket.abort()
        except Exception:
            self._log.exception("failed in sending")
            self.end(FAULT)

    async def _send(self, socket: Socket, message: ServerMessage) -> None:
        async with asyncio.timeout(self._config.stall_s):
            await socket.send(message)
        self._metrics.count("duplex_sent_bytes_total", bytes_of(message))

    async def _part(self, ending: Ending) -> None:
        """Send the client the reason, if it does not know it, and close."""
        if ending.error is not None:
            with contextlib.suppress(CallOverrun):
                self._session.send(server_error(ending.reason, ending.error))
        self._outbox.close()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=_FAREWELL_S)
            self._writer.cancel()
        if self._socket is not None:
            await self._socket.close(ending.code, ending.reason)


def beginning(
    principal: Principal, path: str, parts: Parts, assistant: AssistantConfig | None = None
) -> SessionConfig:
    """Return the session that a call begins with: its client secret's or the server's, as that of
    ``assistant`` if there is one, with the model that its address names if that one is loaded; with
    ``intent=transcription`` in the address one that only transcribes."""
    session = principal.session or parts.defaults
    if assistant is not None:
        session = as_assistant(session, assistant)
    query = parse_qs(urlsplit(path).query)
    if "transcription" in query.get("intent", []):
        session = session.merge({"type": "transcription"}, parts.defaults)
    for name in query.get("model", []):
        if name in parts.models:
            return structs.replace(session, model=name)
    return session


def edge_of(token: str) -> str:
    """Return the name of the server that gave a resume token, "" if it has none."""
    edge, dot, _ = token.partition(".")
    return edge if dot else ""


def token_digest(token: str) -> bytes:
    """Return what a resume token is looked up by: comparing digests shows a guesser nothing."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _innermost(error: BaseException) -> BaseException:
    """The first error in a group of groups."""
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
