"""Phones and exchanges that call over SIP: decides which calls are taken, and holds them.

aiosipua does messages, dialogs and the offer's answer. Refused calls never reach it: it keeps every
INVITE that it sees until an ACK comes, and callers that never send one would fill its memory.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiosipua import (
    IncomingCall,
    SdpNegotiationError,
    SipRequest,
    SipResponse,
    SipUAC,
    SipUAS,
    generate_tag,
)

from duplex.config import SipConfig
from duplex.errors import ConfigError
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.phone.sip.call import SipCall
from duplex.phone.sip.digest import Digest, Verdict
from duplex.phone.sip.info import BARE, RELAY, UnknownBody
from duplex.phone.sip.sdp import Offer, has_body, read_offer
from duplex.phone.sip.socket import Address, SipSocket
from duplex.phone.sip.trunk import Trunk

logger = logging.getLogger(__name__)

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    415: "Unsupported Media Type",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    488: "Not Acceptable Here",
    491: "Request Pending",
    503: "Service Unavailable",
}
_METHODS = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, NOTIFY, INFO"
_KEY_BODIES = f"{RELAY}, {BARE}"
_FAREWELL_S = 3.0  # for goodbyes to be agreed to when the server stops


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call is not taken."""

    status: int  # of SIP's
    why: str  # for the log


Serve = Callable[[SipCall], Coroutine[Any, Any, None]]
Admit = Callable[[], Refused | None]
Choose = Callable[[str], str]


class SipListener:
    """All SIP calls of a server."""

    def __init__(
        self,
        config: SipConfig,
        metrics: Metrics,
        admit: Admit,
        choose: Choose,
        serve: Serve,
        new_id: Callable[[], str],
    ) -> None:
        """``admit`` returns why another call cannot be taken now, None if it can. ``choose``
        returns the assistant that answers the number that was dialled. ``serve`` holds a call
        until either side ends it. ``new_id`` makes an id for a call, for the log.

        Raises:
            ConfigError: see `check_sip`.
        """
        check_sip(config)
        host, port = config.address()
        self._config = config
        self._metrics = metrics
        self._admit = admit
        self._choose = choose
        self._serve = serve
        self._new_id = new_id
        password = os.environ.get(config.password_env, "")
        self._digest = Digest(config.user, password, time.time) if password else None
        self._socket = SipSocket(
            (host, port), lambda: metrics.count("duplex_dropped_total", reason="sip")
        )
        ours = (config.public_address, port) if config.public_address else None
        uac = SipUAC(self._socket, advertised_addr=ours)
        self.trunk = Trunk(config, uac)
        self._uas = SipUAS(self._socket, user_agent="duplex", uac=uac, advertised_addr=ours)
        self._uas.on_invite = self._invited
        self._uas.on_reinvite = lambda call: self._lines[call.call_id].changed()
        self._uas.on_bye = lambda call, _: self._stopped(call.call_id)
        self._uas.on_cancel = lambda request, _: self._stopped(request.call_id or "")
        self._uas.on_ack_timeout = lambda call: self._stopped(call.call_id)
        self._uas.on_transfer_progress = self._transfer_progressed
        self._uas.on_options = lambda request, _: self._socket.send_reply(_abilities(request))
        self._pass_on = self._uas.transport.on_message
        # Of INVITEs on their way through aiosipua; None: it has none.
        self._offers: dict[str, Offer | None] = {}
        self._lines: dict[str, SipCall] = {}  # by Call-ID
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def address(self) -> Address:
        """Where phones call, once it listens."""
        return self._socket.local_addr

    @property
    def lines(self) -> list[SipCall]:
        """The calls that are open."""
        return list(self._lines.values())

    @property
    def calls(self) -> int:
        """How many are open."""
        return len(self._lines)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be used.
        """
        try:
            await self._uas.start()
        except OSError as error:
            raise ConfigError(f"sip.listen: {error}") from error
        self._pass_on = self._socket.on_message
        self._socket.on_message = self._receive
        try:
            await self.trunk.start()
        except ConfigError:
            await self._uas.stop()
            raise
        logger.info("phones may call sip:%s:%d", *self.address)

    async def stop(self) -> None:
        """Say goodbye in all calls, and stop listening."""
        self._is_stopping = True
        await self.trunk.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FAREWELL_S)
        await self._uas.stop()

    def _receive(self, message: SipRequest | SipResponse, source: Address) -> None:
        if isinstance(message, SipRequest) and not self._let_in(message, source):
            return
        if self._pass_on is not None:
            try:
                self._pass_on(message, source)
            finally:
                self._offers.clear()  # if aiosipua has passed on no call

    def _let_in(self, request: SipRequest, source: Address) -> bool:
        """Whether aiosipua is to see ``request``. Requests that belong to no call are not
        remembered: a stranger's OPTIONS are answered as often as they come."""
        if request.method == "INVITE":
            refusal = self._screen(request, source)
            if refusal is not None:
                self._refuse(request, source, refusal)
                return False
            self._socket.remember(request)
            return True
        line = self._lines.get(request.call_id or "")
        if line is None or not line.owns(request):
            if request.method == "INFO":
                self._socket.send_reply(_answer(request, 481))
            return request.method != "INFO"
        if request.method == "ACK":
            line.acknowledged(request)
            return True
        self._socket.remember(request)
        if request.method == "INFO":  # aiosipua knows none
            self._socket.send_reply(_informed(line, request))
            return False
        if request.method == "CANCEL" and line.is_answered:
            # It has crossed our 200 and has no effect: a BYE will come (RFC 3261 section 9.2).
            # aiosipua would forget the call, and its caller would hold a dead one.
            self._socket.send_reply(_answer(request, 200))
            return False
        return True

    def _screen(self, invite: SipRequest, source: Address) -> Refused | None:
        """Return why this call, or this change of a call, is not taken; None if it is."""
        call_id, to = invite.call_id, invite.to_addr
        if not call_id or to is None or invite.from_addr is None or not invite.contact:
            return Refused(400, "malformed")
        line = self._lines.get(call_id)
        if to.tag:
            if line is None or not line.is_answered or not line.owns(invite):
                return Refused(481, "no such call")
            return Refused(491, "our offer is not answered yet") if line.awaits_answer else None
        if line is not None:
            return Refused(482, "one call twice")
        return self._screen_new(invite, call_id, source)

    def _screen_new(self, invite: SipRequest, call_id: str, source: Address) -> Refused | None:
        """Return why a new call is not taken; None if it is, and its offer is noted."""
        is_provider = self.trunk.is_from(source[0])
        if not is_provider:
            refusal = self._identify(invite, source)
            if refusal is not None:
                return refusal
        if self._is_stopping:
            return Refused(503, "stopping")
        if self._config.max_calls and len(self._lines) >= self._config.max_calls:
            return Refused(486, "full")
        refusal = self._admit()
        if refusal is not None:
            return refusal
        try:
            self._offers[call_id] = read_offer(invite) if has_body(invite) else None
        except SdpNegotiationError as error:
            return Refused(488, str(error))
        if self._digest is not None and not is_provider:
            self._digest.spend(invite)
        return None

    def _identify(self, invite: SipRequest, source: Address) -> Refused | None:
        """Return why a caller that is not the provider may not call; None if it may."""
        if self._digest is None:
            is_open = ipaddress.ip_address(self._config.address()[0]).is_loopback
            return None if is_open else Refused(403, "not the provider")
        verdict = self._digest.check(invite, source[0])
        if verdict is Verdict.WELCOME:
            return None
        return Refused(401 if verdict is Verdict.ASK else 403, "password")

    def _refuse(self, invite: SipRequest, source: Address, refusal: Refused) -> None:
        response = _answer(invite, refusal.status)
        if refusal.status == 401 and self._digest is not None:
            challenge = self._digest.challenge(invite, source[0])
            response.headers.append("WWW-Authenticate", challenge)
        else:
            logger.info("refused a call from %s: %s", source[0], refusal.why)
        self._socket.send_reply(response)

    def _invited(self, call: IncomingCall) -> None:
        offer = self._offers[call.call_id]
        who = self._choose(_user_of(call.invite.uri))
        line = SipCall(call, offer, self._socket, self._config, who, self._new_id())
        self._lines[call.call_id] = line
        task = asyncio.create_task(self._hold(call, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(self, call: IncomingCall, line: SipCall) -> None:
        """Hold one call. An error in it ends only this call."""
        log = call_logger(logger, line.call_id)
        try:
            if await line.pick_up():
                await self._serve(line)
        except OSError as error:
            log.error("could not be answered: %s", error)
            call.reject(503, _REASONS[503])
        except Exception:
            log.exception("its SIP call failed")
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await line.close()
            log.info("its SIP call is over: %s", line.stream.counts)
            if line.stream.malformed:
                malformed = line.stream.malformed
                self._metrics.count("duplex_dropped_total", malformed, reason="rtp")
            del self._lines[call.call_id]
            _forget(self._uas, call)

    def _stopped(self, call_id: str) -> None:
        line = self._lines.get(call_id)
        if line is not None:
            line.stopped()

    def _transfer_progressed(self, call_id: str, status: int, _: str) -> None:
        line = self._lines.get(call_id)
        if line is not None:
            line.transfer_progressed(status)


def _forget(uas: SipUAS, call: IncomingCall) -> None:
    """Have aiosipua drop a call that is over.

    It does so itself for calls that the caller ends, and has no public way for those that we end:
    they would stay in its table, and it would repeat their 200 for half a minute after our BYE
    (aiosipua 0.7.1). The tests of a call that we end fail if these members change.
    """
    call._stop_retransmissions()
    uas._calls.pop(call.call_id, None)


def _answer(request: SipRequest, status: int) -> SipResponse:
    """Return an answer outside of aiosipua."""
    response = SipResponse(status_code=status, reason_phrase=_REASONS[status])
    for name in ("Via", "From", "Call-ID", "CSeq"):
        for value in request.headers.get(name):
            response.headers.append(name, value)
    to = request.get_header("to") or ""
    response.headers.append("To", to if "tag=" in to else f"{to};tag={generate_tag()}")
    return response


def _informed(line: SipCall, request: SipRequest) -> SipResponse:
    """Tell ``line`` of the key that an INFO reports; return the answer."""
    try:
        line.informed(request)
    except UnknownBody:
        response = _answer(request, 415)
        response.headers.set_single("Accept", _KEY_BODIES)
        return response
    except ValueError:
        return _answer(request, 400)
    return _answer(request, 200)


def _abilities(request: SipRequest) -> SipResponse:
    """Answer an OPTIONS: some phones send keys by INFO only to who says that it is allowed."""
    response = _answer(request, 200)
    response.headers.set_single("Allow", _METHODS)
    response.headers.set_single("Accept", f"application/sdp, {_KEY_BODIES}")
    return response


def _user_of(uri: str) -> str:
    """``booking`` of ``sip:booking@host``; empty if nobody is named."""
    scheme, _, rest = uri.partition(":")
    user = rest.partition("@")[0] if "@" in rest else ""
    return user.partition(";")[0].partition(":")[0] if scheme in ("sip", "sips") else ""


def check_sip(config: SipConfig) -> None:
    """
    Raises:
        ConfigError: strangers would be served by accident, or nobody could reach us.
    """
    host, _ = config.address()
    config.ports()
    address = ipaddress.ip_address(host)
    if not (address.is_loopback or config.register or os.environ.get(config.password_env)):
        raise ConfigError(
            f"sip.listen is open to other machines: put a password into ${config.password_env}"
        )
    if address.is_unspecified and not config.public_address:
        raise ConfigError("sip.listen is of every network: sip.public_address must say which")
