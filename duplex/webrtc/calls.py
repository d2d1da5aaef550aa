"""``/v1/realtime/calls``: requests that begin and end calls over WebRTC, which are calls of the
server as all others."""

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.dialogue.assistants import asked_assistant
from duplex.dialogue.parts import Parts
from duplex.errors import ProtocolError
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.session_config import SessionConfig
from duplex.server import http
from duplex.server.admission import Admission
from duplex.server.http import HttpAnswer, HttpRequest
from duplex.server.keys import Principal, is_loopback
from duplex.server.places import Place, Refusal
from duplex.server.registry import CallRegistry
from duplex.server.resumable_call import HUNG_UP, ResumableCall
from duplex.server.resumable_call import beginning as session_for
from duplex.webrtc.line import beginning, without_formats
from duplex.webrtc.offers import Offer, OfferError, read_offer

if TYPE_CHECKING:
    from duplex.webrtc.peer import Peer

logger = logging.getLogger(__name__)

PATH = "/v1/realtime/calls"
SDP = "application/sdp"
_HANGUP = "hangup"
_RETRY_S = 10
_MISSING = "WebRTC needs: pip install 'duplex-r1[webrtc]'"


class WebRtcCalls:
    """Those of one server."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        metrics: Metrics,
        calls: CallRegistry,
        admission: Admission,
    ) -> None:
        """
        Raises:
            ConfigError: a port range or an address of a server cannot be used.
        """
        self._config = config
        self._parts = parts
        self._metrics = metrics
        self._calls = calls
        self._admission = admission
        self._open: dict[str, tuple[Principal, ResumableCall]] = {}  # by the id that clients know
        self._tasks: set[asyncio.Task[None]] = set()
        config.webrtc.check()

    def is_for(self, path: str) -> bool:
        """Whether a request for ``path`` is for `answer`."""
        return self._config.webrtc.enabled and (path == PATH or path.startswith(f"{PATH}/"))

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Begin a call, or end one. Pages of other origins that may call may read the answer."""
        allowed = self._admission.cross_origin(request)
        if request.method == "OPTIONS":
            return HttpAnswer(HTTPStatus.NO_CONTENT, b"", http.TEXT, allowed)
        answer = await self._answer(request)
        return HttpAnswer(
            answer.status,
            answer.body,
            answer.content_type,
            (*answer.headers, *allowed),
            answer.cache,
        )

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "POST":
            return http.method_not_allowed("POST")
        admitted = await self._admission.admit_plain(request)
        if isinstance(admitted, HttpAnswer):
            return self._refused(admitted)
        if request.path == PATH:
            return await self._begin(request, admitted)
        call_id, _, verb = request.path.removeprefix(f"{PATH}/").partition("/")
        if verb != _HANGUP:
            message = f"Only {PATH}/CALL_ID/{_HANGUP} is known here."
            return http.problem(HTTPStatus.NOT_FOUND, message, "not_found")
        owner, call = self._open.get(call_id, (None, None))
        if call is None or owner is None or owner.name != admitted.name:
            return http.problem(HTTPStatus.NOT_FOUND, "There is no such call.", "not_found")
        call.end(HUNG_UP)
        return HttpAnswer(HTTPStatus.OK, b"", http.TEXT)

    async def finish(self, patience_s: float) -> None:
        """Wait until the connections of calls that were ended are closed."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        for task in self._tasks:
            task.cancel()

    async def _begin(self, request: HttpRequest, principal: Principal) -> HttpAnswer:
        try:
            offer = read_offer(request.headers.get("content-type", ""), request.body)
            start = self._session(request, principal, offer)
        except OfferError as error:
            return self._bad(str(error), Code.INVALID_VALUE)
        except ProtocolError as error:
            return self._bad(str(error), error.code or Code.INVALID_VALUE)
        place = self._calls.refusal() or await self._calls.reserve(principal)
        if isinstance(place, Refusal):
            return self._full(place)
        try:
            return await self._connect(request, principal, offer, start, place)
        finally:
            place.give_back()

    async def _connect(
        self,
        request: HttpRequest,
        principal: Principal,
        offer: Offer,
        start: SessionConfig,
        place: Place,
    ) -> HttpAnswer:
        call_id = self._calls.new_id()
        try:
            peer = self._peer(request, principal, call_id)
        except ImportError as error:
            message = f"{_MISSING} ({error})"
            return http.problem(HTTPStatus.NOT_IMPLEMENTED, message, "webrtc_missing")
        try:
            answer = await peer.answer(offer.sdp)
        except OfferError as error:
            return self._bad(str(error), Code.INVALID_VALUE)
        refusal = self._calls.refusal()  # others may have called meanwhile
        if refusal is not None:
            await peer.stop()
            return self._full(refusal)
        address = request.origin.address if request.origin is not None else "unknown"
        call = self._calls.open(
            principal,
            start,
            address,
            place,
            shape="typed",
            call_id=call_id,
            client="webrtc",
            traceparent=request.headers.get("traceparent", ""),
        )
        known_as = random_id("rtc")
        self._open[known_as] = principal, call
        task = asyncio.create_task(self._hold(known_as, peer, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        location = (("Location", f"{self._config.server.root()}{PATH}/{known_as}"),)
        return HttpAnswer(HTTPStatus.CREATED, answer.encode(), SDP, location)

    async def _hold(self, known_as: str, peer: "Peer", call: ResumableCall) -> None:
        try:
            await call.hold(peer)
        finally:
            del self._open[known_as]
            await peer.stop()
            call_logger(logger, call.call_id).info("its WebRTC call is over: %s", peer.counts)

    def _session(self, request: HttpRequest, principal: Principal, offer: Offer) -> SessionConfig:
        """
        Raises:
            ProtocolError: the offer's session cannot be used.
        """
        target = f"{PATH}?{request.query}"
        assistant = asked_assistant(self._config, target)
        session = session_for(principal, target, self._parts, assistant)
        wanted = without_formats(offer.session)
        return beginning(session.merge(wanted, self._parts.defaults) if wanted else session)

    def _peer(self, request: HttpRequest, principal: Principal, call_id: str) -> "Peer":
        """
        Raises:
            ImportError: aiortc is not installed.
        """
        # aiortc is an optional extra, and slow to import.
        from duplex.webrtc.peer import Limits, Peer

        rates = self._calls.rates(principal)
        source = request.origin.address if request.origin is not None else ""
        limits = Limits(
            self._config.limits.messages_per_s,
            self._config.server.max_message_bytes,
            lambda count: rates.receive(count, time.time(), source),
        )
        log = call_logger(logger, call_id)
        has_loopback = is_loopback(self._config.server.host)
        return Peer(self._config.webrtc, limits, log, has_loopback=has_loopback)

    def _bad(self, message: str, code: str) -> HttpAnswer:
        return self._refused(http.problem(HTTPStatus.BAD_REQUEST, message[:400], code))

    def _full(self, refusal: Refusal) -> HttpAnswer:
        self._calls.refuse(refusal)
        return refusal.answer(_RETRY_S)

    def _refused(self, answer: HttpAnswer) -> HttpAnswer:
        self._metrics.count("duplex_refused_total", reason=answer.status.phrase.lower())
        return answer
