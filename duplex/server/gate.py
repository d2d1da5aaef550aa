"""One socket of the server: tells calls from plain requests, and drops what does harm.

websockets does the protocol of calls. What it leaves to its user is here: requests with a body,
handshakes that never end, floods of frames that are cheap to send and expensive to receive, and
pongs that nobody reads.

`Gate` overrides `process_event`, which websockets calls and does not document. Another major
release may not call it: pyproject.toml bounds the version, and the tests of abuse fail if floods
are no longer seen.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Event

from duplex.config import LimitsConfig
from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import encode, server_error
from duplex.rate import TokenBucket
from duplex.server.forwarded import Origin, Proxies
from duplex.server.http import (
    MAX_HEAD_BYTES,
    Exchange,
    HttpAnswer,
    HttpRequest,
    PlainHttp,
    StreamedAnswer,
    problem,
)
from duplex.server.keys import Principal
from duplex.server.places import Place, Refusal
from duplex.server.quota import Allowance

logger = logging.getLogger(__name__)

POLICY_VIOLATION = 1008
_BURST_S = 10  # of messages that may come at once
_SLICE_BYTES = 4096  # parsed at a time: hundreds of the smallest frames, not tens of thousands
BAN_S = 5.0  # dropping costs the server more than calling again costs the client
_NOBODY = Principal("", Allowance())
_GRACE_S = 1.0  # for a dropped client to read why
_UPLOAD_S = 300.0  # for the largest body over a slow line
_LINGER_S = 5.0  # for a client that still sends to read that it need not


def _no_exchange(_: HttpRequest) -> HttpAnswer | Exchange | None:
    return None


@dataclass(slots=True)
class SocketLimits:
    """What all sockets of one server share: their bounds, and who was dropped lately."""

    limits: LimitsConfig
    metrics: Metrics
    answer: Callable[[HttpRequest], Awaitable[HttpAnswer]]  # of plain requests
    max_unsent_bytes: int
    ban: Callable[[str], None]  # have a source wait before its next call
    max_sockets: int  # calls, handshakes and goodbyes together; file descriptors are few
    proxies: Proxies = field(default_factory=lambda: Proxies(()))  # who are believed
    open_exchange: Callable[[HttpRequest], HttpAnswer | Exchange | None] = _no_exchange
    is_exchange: Callable[[str], bool] = lambda _: False  # whether a GET of a path is one, too
    stall_s: float = 20.0  # a client that takes nothing of an answer for so long is dropped
    open: int = 0
    waiting: dict["Gate", None] = field(default_factory=dict)  # no request yet; oldest first
    has_met_proxy: bool = False  # set when one that is not trusted was banned
    answering: dict["Gate", None] = field(default_factory=dict)  # those with an exchange
    answers: set[asyncio.Task[None]] = field(default_factory=set)  # that are being made

    def enter(self, gate: "Gate") -> None:
        """Count a socket that was opened. Past the bound the oldest one without a request is
        dropped: an honest client sends its request at once."""
        self.open += 1
        if self.open > self.max_sockets:
            self.metrics.count("duplex_dropped_total", reason="sockets")
            gate.transport.abort()
            return
        self.waiting[gate] = None
        if len(self.waiting) > self.limits.max_handshakes:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            self.metrics.count("duplex_dropped_total", reason="handshake")
            oldest.transport.abort()

    def leave(self, gate: "Gate") -> None:
        """Count a socket that was closed."""
        self.open -= 1
        self.waiting.pop(gate, None)
        self.answering.pop(gate, None)

    async def end_answers(self, patience_s: float) -> None:
        """Drop the clients whose answers are still being made, and wait until nothing is."""
        for gate in list(self.answering):
            gate.abort()
        for answer in self.answers:
            answer.cancel()
        if self.answers:
            await asyncio.wait(self.answers, timeout=patience_s)


def source_of(address: str, principal: Principal) -> str:
    """Return by what a sender is known; see `Gate.source`."""
    return f"{address} {principal.name} {principal.secret_id}"


class Gate(ServerConnection):
    """A socket from its opening to its end."""

    def __init__(self, *args: Any, shared: SocketLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self.principal = _NOBODY  # set when the request of a call is admitted
        self.reserved: Place | Refusal | None = (
            None  # likewise, of a call that its key is asked for
        )
        self.may_receive: Callable[[int], bool] = lambda _: True  # likewise, if there is a rate
        self.peer = ""  # the address at the other end of the socket; set when it opens
        self.origin = Origin("")  # who sent the request, through proxies; set when it has come
        self._is_forwarded = False  # likewise; whether it says that it was sent for another
        self._shared = shared
        self._head = b""  # the first bytes, until they tell what this is
        self._head_bytes = 0  # until the request is whole
        self._begins_call = False  # set when the first bytes say so
        self._plain: PlainHttp | None = None  # set when it is a plain request
        self._opening: asyncio.Timeout | None = None  # set while the request is waited for
        self._upload_until = 0.0  # set when an exchange is opened, loop time
        self.mends_text = False  # set if what is no UTF-8 is not to end the connection
        self.was_dropped = False  # set when nothing more is read from it
        self._answering: asyncio.Task[None] | None = None  # set while a plain answer is sought
        self._is_admitting = False  # whether an exchange is asked if it takes the request
        self._aborting: asyncio.TimerHandle | None = None  # set when the end must come soon
        rate = shared.limits.messages_per_s
        self._frames = TokenBucket(rate, rate * _BURST_S, self.loop.time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")  # none if it has gone again already
        self.peer = str(peer[0]) if peer else "unknown"
        self.origin = self._shared.proxies.origin(self.peer, {})
        self._shared.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.leave(self)
        if isinstance(self.reserved, Place):
            self.reserved.give_back()
        if self._aborting is not None:
            self._aborting.cancel()
        if self._answering is not None:
            self._answering.cancel()
        elif not self._is_admitting and self._plain is not None:
            self._plain.close()
        super().connection_lost(exc)

    async def handshake(self, *args: Any, **options: Any) -> None:
        """Wait for the request, as long as it may take to arrive; see `ServerConnection`."""
        async with asyncio.timeout(self._shared.limits.handshake_s) as self._opening:
            await super().handshake(*args, **options)

    def data_received(self, data: bytes) -> None:
        if self.was_dropped:
            return
        self._shared.metrics.count("duplex_received_bytes_total", len(data))
        if self._plain is not None:
            self._receive_plain(self._plain, data)
        elif self.request is None:
            self._receive_head(data)
        elif self.may_receive(len(data)):
            self._receive_frames(data)
        else:
            self.drop("bytes", "more bytes a second than this key may send")

    def process_event(self, event: Event) -> None:
        if self.was_dropped:
            return
        if not isinstance(event, Frame):
            self._shared.waiting.pop(self, None)
        elif not self._frames.take(1, self.loop.time()):
            self.drop("messages", "more messages a second than a client may send")
            return
        elif self.mends_text and event.fin and event.opcode is Opcode.TEXT:
            event.data = bytes(event.data).decode(errors="replace").encode()
        super().process_event(event)

    @property
    def address(self) -> str:
        """The sender's, as far as trusted proxies tell."""
        return self.origin.address

    @property
    def source(self) -> str:
        """The sender as far as it is known: the address, and the key or client secret. Neither the
        users of one key answer for each other, nor keys that come from one address."""
        return source_of(self.address, self.principal)

    def note_origin(self, headers: Mapping[str, str]) -> Origin:
        """Look at where the request with ``headers`` comes from; names are in lower case."""
        proxies = self._shared.proxies
        self.origin = proxies.origin(self.peer, headers)
        self._is_forwarded = "x-forwarded-for" in headers
        if self.origin.is_garbled:
            self._shared.metrics.count("duplex_dropped_total", reason="forwarded")
        return self.origin

    def drop(self, kind: str, reason: str) -> None:
        """End this connection, without waiting for the client to agree."""
        self.was_dropped = True
        self._shared.metrics.count("duplex_dropped_total", reason=kind)
        self._shared.ban(self.source)
        self._warn_of_proxy()
        if self.protocol.state is OPEN:
            error = server_error(reason, Code.RATE_LIMIT)
            self.protocol.send_text(encode(error, random_id).encode())
            self.protocol.fail(POLICY_VIOLATION, reason)
            self.send_data()
        self._abort_soon()

    def _warn_of_proxy(self) -> None:
        """Say once that a ban hits all that call through a proxy, and how to mend it."""
        shared = self._shared
        if not self._is_forwarded or shared.has_met_proxy or shared.proxies.trusts(self.peer):
            return
        shared.has_met_proxy = True
        logger.warning(
            "%s was dropped and has to wait, and sends X-Forwarded-For: if it is your proxy, name "
            "it in server.trusted_proxies, so that its other callers are not refused",
            self.peer,
        )

    def abort(self) -> None:
        """End this connection without a word."""
        self.transport.abort()

    def _receive_head(self, data: bytes) -> None:
        if not self._begins_call:
            data = self._head + data
            if len(data) < len(b"GET "):
                self._head = data
                return
            is_get = data.startswith(b"GET ")
            target, whole, _ = data[len(b"GET ") :].partition(b" ")
            if is_get and not whole and len(data) <= MAX_HEAD_BYTES:
                self._head = data
                return
            path = target.partition(b"?")[0].decode("latin-1")
            self._begins_call = is_get and not self._shared.is_exchange(path)
        if not self._begins_call:
            self._plain = PlainHttp(self._open_exchange)
            self._receive_plain(self._plain, data)
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._shared.metrics.count("duplex_dropped_total", reason="head")
            self.transport.abort()
            return
        self._receive_frames(data)

    def _open_exchange(self, head: HttpRequest) -> HttpAnswer | Exchange | None:
        found = self._shared.open_exchange(replace(head, origin=self.note_origin(head.headers)))
        if isinstance(found, Exchange):
            self._shared.waiting.pop(self, None)  # it is known who sends it
            self._shared.answering[self] = None
            self._upload_until = self.loop.time() + _UPLOAD_S
        return found

    def _receive_plain(self, plain: PlainHttp, data: bytes) -> None:
        was_open = plain.exchange is not None
        request = plain.receive(data)
        if plain.exchange is not None and self._opening is not None:
            patience = self.loop.time() + self._shared.limits.handshake_s  # for more of the body
            self._opening.reschedule(min(patience, self._upload_until))
        if not was_open and plain.exchange is not None and plain.exchange.admit is not None:
            self.transport.pause_reading()
            self._is_admitting = True
            admitting = self.loop.create_task(self._admit(plain, plain.exchange, request))
            self._shared.answers.add(admitting)
            admitting.add_done_callback(self._shared.answers.discard)
        else:
            self._go_on_plain(plain, request)

    async def _admit(
        self, plain: PlainHttp, exchange: Exchange, request: HttpRequest | HttpAnswer | None
    ) -> None:
        """Ask ``exchange`` whether it takes the request, of which ``request`` is known. It is asked
        to the end: what it has taken by then is given back if the client has gone."""
        is_taken = False
        try:
            refusal = await _refusal_of(exchange)
            is_taken = refusal is None and not self.transport.is_closing()
        finally:
            self._is_admitting = False
            if not is_taken:
                plain.close()
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._go_on_plain(plain, refusal or request)

    def _go_on_plain(self, plain: PlainHttp, request: HttpRequest | HttpAnswer | None) -> None:
        if request is None:
            self.transport.write(plain.go_on())
            return
        self.was_dropped = True  # whatever else comes is not read
        if isinstance(request, HttpAnswer):
            self._finish_plain(plain, request)
            return
        request = replace(request, origin=self.note_origin(request.headers))
        if self._opening is not None:
            self._opening.reschedule(None)
        exchange = plain.exchange or Exchange(self._shared.answer)
        self._answering = self.loop.create_task(self._exchange(plain, exchange, request))
        self._shared.answers.add(self._answering)
        self._answering.add_done_callback(self._shared.answers.discard)

    def _finish_plain(self, plain: PlainHttp, answer: HttpAnswer) -> None:
        self.transport.write(plain.serialize(answer))
        if plain.is_whole:
            self.transport.close()
        else:  # closing at once would reset what the client has not read yet
            self._abort_soon(_LINGER_S)

    async def _exchange(self, plain: PlainHttp, exchange: Exchange, request: HttpRequest) -> None:
        """Answer ``request``, which takes time; ends when the answer is sent or nobody reads it."""
        try:
            try:
                answer = await exchange.answer(request)
            except Exception:
                logger.exception("a request for %s failed", request.path)
                error = HTTPStatus.INTERNAL_SERVER_ERROR
                answer = problem(error, "The server failed at this request.", "server_error")
            if isinstance(answer, HttpAnswer):
                self.transport.write(plain.serialize(answer))
            else:
                await self._stream(plain, answer)
            self.transport.close()
        except Exception:  # of an answer whose beginning is sent
            logger.exception("an answer to %s broke off", request.path)
            self.transport.abort()
        finally:
            exchange.close()

    async def _stream(self, plain: PlainHttp, answer: StreamedAnswer) -> None:
        async with aclosing(answer.parts) as parts:
            self.transport.write(plain.begin(answer))
            async for part in parts:
                self.transport.write(plain.part(part))
                try:
                    async with asyncio.timeout(self._shared.stall_s):
                        await self.drain()
                except TimeoutError:
                    self._shared.metrics.count("duplex_dropped_total", reason="unread")
                    self.transport.abort()
                    return
        self.transport.write(plain.end())

    def _receive_frames(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE_BYTES):
            super().data_received(data[start : start + _SLICE_BYTES])
            if self.was_dropped:
                return
        if self.protocol.close_expected():  # of its own accord: too big, not WebSocket, a goodbye
            self._abort_soon()
        if self.transport.get_write_buffer_size() > self._shared.max_unsent_bytes:
            self._shared.metrics.count("duplex_dropped_total", reason="unread")
            self.transport.abort()

    def _abort_soon(self, grace_s: float = _GRACE_S) -> None:
        if self._aborting is None:
            self._aborting = self.loop.call_later(grace_s, self.transport.abort)


async def _refusal_of(exchange: Exchange) -> HttpAnswer | None:
    if exchange.admit is None:
        return None
    try:
        return await exchange.admit()
    except Exception:
        logger.exception("a request could not be admitted")
        error = HTTPStatus.INTERNAL_SERVER_ERROR
        return problem(error, "The server failed at this request.", "server_error")
