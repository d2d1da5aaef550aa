"""SIP over one UDP socket: what the network loses is sent again (RFC 3261 section 17).

aiosipua's own UDP transport asserts that a datagram transport is an `asyncio.DatagramTransport`,
which CPython's was not before 3.12, so that no call can be made on 3.11; and it passes on a
request as often as it arrives: an INVITE whose answer was lost would be a second call.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiosipua import SipMessage, SipRequest, SipResponse, SipTransport, parse_via, stringify_via

logger = logging.getLogger(__name__)

Address = tuple[str, int]

T1_S = 0.5  # RFC 3261 section 17.1.1.1
_T2_S = 4.0
_GIVE_UP_S = 64 * T1_S
_MAX_SERVED = 4096  # requests that are remembered; past it the oldest is forgotten


@dataclass(slots=True)
class _Served:
    """A request that came, and what was answered last."""

    until_s: float  # when it is forgotten
    answer: tuple[bytes, Address] | None = None


class SipSocket(SipTransport):
    """Reads and writes messages; malformed ones are not passed on, remembered ones once.

    What is not remembered is answered as often as it comes and each time once: whoever writes
    another's address into their packets has us send there no more than they send themselves.
    """

    def __init__(self, address: Address, on_malformed: Callable[[], None]) -> None:
        super().__init__(local_addr=address)
        self._on_malformed = on_malformed
        self._socket: asyncio.DatagramTransport | None = None  # set while it listens
        self._served: dict[tuple[str, ...], _Served] = {}
        self._repeated: dict[tuple[str, ...], asyncio.TimerHandle] = {}
        self._asked: dict[str, asyncio.Future[SipResponse]] = {}  # by the branch of our request

    async def start(self) -> None:
        """Bind; ``local_addr`` is the real address after that.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._socket, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._receive), local_addr=self.local_addr
        )
        self.local_addr = self._socket.get_extra_info("sockname")[:2]

    async def stop(self) -> None:
        """Close the socket and forget what was to be sent again."""
        for timer in self._repeated.values():
            timer.cancel()
        self._repeated.clear()
        for future in self._asked.values():
            future.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, message: SipRequest | SipResponse, addr: Address) -> None:
        """Send; again and again if it has to arrive, until the other side shows that it did: our
        requests, and answers to remembered INVITEs."""
        data = bytes(message)
        self._write(data, addr)
        if isinstance(message, SipRequest):
            if message.method != "ACK":
                self._repeat(("ours", _branch(message), message.method), data, addr)
            return
        method = _method(message)
        served = self._served.get(_key(message, method))
        if served is None:
            return
        served.answer = data, addr
        if method == "INVITE" and message.status_code >= 300:  # aiosipua repeats a 2xx
            self._repeat(("theirs", _branch(message)), data, addr)

    def remember(self, request: SipRequest) -> None:
        """Pass ``request``, which has just come, on no more; repeat the answer if it comes again.

        For requests of those who may call only: others could fill the memory.
        """
        now_s = asyncio.get_running_loop().time()
        while self._served:
            oldest = next(iter(self._served))
            if self._served[oldest].until_s > now_s and len(self._served) < _MAX_SERVED:
                break
            del self._served[oldest]
        self._served[_key(request, request.method)] = _Served(now_s + _GIVE_UP_S)

    async def ask(self, request: SipRequest, addr: Address) -> SipResponse:
        """Send ``request`` and return its final answer.

        Raises:
            TimeoutError: none came.
        """
        branch = _branch(request)
        future: asyncio.Future[SipResponse] = asyncio.get_running_loop().create_future()
        self._asked[branch] = future
        try:
            self.send(request, addr)
            async with asyncio.timeout(_GIVE_UP_S):
                return await future
        finally:
            del self._asked[branch]

    def _receive(self, data: bytes, source: Address) -> None:
        if not data.strip(b"\r\n\0"):  # keep-alive
            return
        try:
            message = SipMessage.parse(data)
            if isinstance(message, SipRequest):
                _note_source(message, source)
                is_new = self._is_new(message)
            else:
                is_new = self._is_answer(message)
            if is_new and self.on_message is not None:
                self.on_message(message, source)
        except Exception:
            # Anybody may send anything: whatever is wrong with it, it must end nobody's call.
            self._on_malformed()
            logger.debug("a message of %s cannot be obeyed", source, exc_info=True)

    def _is_new(self, request: SipRequest) -> bool:
        if request.method == "ACK":
            self._settle(("theirs", _branch(request)))
            return True
        known = self._served.get(_key(request, request.method))
        if known is None:
            return True
        if known.answer is not None:
            self._write(*known.answer)
        return False

    def _is_answer(self, response: SipResponse) -> bool:
        if response.status_code < 200:
            return False
        branch = _branch(response)
        is_ours = self._settle(("ours", branch, _method(response)))
        future = self._asked.get(branch)
        if future is not None and not future.done():
            future.set_result(response)
        return is_ours

    def _write(self, data: bytes, addr: Address) -> None:
        if self._socket is not None:
            self._socket.sendto(data, addr)

    def _repeat(self, key: tuple[str, ...], data: bytes, addr: Address) -> None:
        def again(waited_s: float, next_s: float) -> None:
            if waited_s >= _GIVE_UP_S:
                self._repeated.pop(key, None)
                return
            if waited_s:
                self._write(data, addr)
            loop = asyncio.get_running_loop()
            following_s = min(2 * next_s, _T2_S)
            self._repeated[key] = loop.call_later(next_s, again, waited_s + next_s, following_s)

        self._settle(key)
        again(0.0, T1_S)

    def _settle(self, key: tuple[str, ...]) -> bool:
        timer = self._repeated.pop(key, None)
        if timer is not None:
            timer.cancel()
        return timer is not None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        logger.debug("a message could not be delivered: %s", exc)


def _note_source(request: SipRequest, source: Address) -> None:
    """Write into the topmost Via where ``request`` came from: answers go there (RFC 3581)."""
    first, *rest = request.headers.get("via")
    via = parse_via(first)
    via.params["received"] = source[0]
    if "rport" in via.params:
        via.params["rport"] = str(source[1])
    request.headers.remove("Via")
    for value in (stringify_via(via), *rest):
        request.headers.append("Via", value)


def _branch(message: SipMessage) -> str:
    """Return the branch, which a request and its answers share with no others.

    Raises:
        ValueError: it has none.
    """
    vias = message.via
    if not vias or not vias[0].branch:
        raise ValueError("no branch in Via")
    return vias[0].branch


def _method(response: SipResponse) -> str:
    cseq = response.cseq
    if cseq is None:
        raise ValueError("no CSeq")
    return cseq.method


def _key(message: SipMessage, method: str) -> tuple[str, ...]:
    via = message.via[0]
    return _branch(message), via.host, str(via.port), via.received or "", method
