"""A phone that is nothing but text: it sends SIP as written and keeps what comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiosipua import SipMessage, SipRequest, SipResponse

from duplex.phone.sip.listener import SipListener

Address = tuple[str, int]
_PATIENCE_S = 90.0
SDP = """v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP {codecs} 101
a=rtpmap:101 telephone-event/8000
a=sendrecv
""".replace("\n", "\r\n")


class SipPhone(asyncio.DatagramProtocol):
    """One phone, one server."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._arrived = asyncio.Event()
        self.got: list[SipRequest | SipResponse] = []
        self.sound = 0  # packets of it that came
        self._numbered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if data[0] >= 0x80:
            self.sound += 1
        else:
            message = SipMessage.parse(data)
            self.got.append(message)
            self._arrived.set()
            if isinstance(message, SipRequest) and message.method == "BYE":
                self.reply(message)

    def send(self, data: bytes) -> None:
        """Whatever it is."""
        self.transport.sendto(data, self._server)  # type: ignore[attr-defined]

    def text(
        self,
        method: str,
        call_id: str,
        *,
        body: str = "",
        more: str = "",
        to: str = "",
        number: int = 1,
        kind: str = "application/sdp",
    ) -> bytes:
        """A request; ``to`` is the server's tag, once there is one, ``kind`` that of the body."""
        self._numbered += 1
        described = f"Content-Type: {kind}\r\n" if body else ""
        tag = f";tag={to}" if to else ""
        branch = f"z9hG4bK{self.port}n{self._numbered}"
        return (
            f"{method} sip:bot@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch};rport\r\n"
            f"From: <sip:ann@127.0.0.1>;tag=mine\r\nTo: <sip:bot@127.0.0.1>{tag}\r\n"
            f"Call-ID: {call_id}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:ann@127.0.0.1:{self.port}>\r\n{more}{described}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def invite(
        self, call_id: str, *, codecs: str = "0 8", more: str = "", to: str = "", number: int = 1
    ) -> bytes:
        """An INVITE with an offer."""
        body = SDP.format(port=self.port, codecs=codecs)
        return self.text("INVITE", call_id, body=body, more=more, to=to, number=number)

    async def answer(self, status: int, call_id: str | None = None) -> SipResponse:
        """Wait for an answer of that status, if it has not come, and return it."""
        found = await self._until(
            lambda m: (
                isinstance(m, SipResponse)
                and m.status_code == status
                and call_id in (None, m.call_id)
            )
        )
        assert isinstance(found, SipResponse)
        return found

    async def request(self, method: str) -> SipRequest:
        """Wait for a request of that kind."""
        found = await self._until(lambda m: isinstance(m, SipRequest) and m.method == method)
        assert isinstance(found, SipRequest)
        return found

    async def _until(self, wanted) -> SipRequest | SipResponse:  # type: ignore[no-untyped-def]
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                for message in self.got:
                    if wanted(message):
                        return message
                self._arrived.clear()
                await self._arrived.wait()

    def reply(self, request: SipRequest) -> None:
        """Agree to a request."""
        response = SipResponse(status_code=200, reason_phrase="OK")
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in request.headers.get(name):
                response.headers.append(name, value)
        self.send(bytes(response))

    def info(self, call_id: str, to: str, number: int, kind: str, body: str) -> bytes:
        """An INFO in a call; a ``kind`` without a body is not told."""
        return self.text("INFO", call_id, body=body, to=to, number=number, kind=kind)

    def ack(
        self,
        call_id: str,
        to: str,
        number: int = 1,
        *,
        codecs: str = "0 8",
        direction: str = "sendrecv",
        port: int = 0,
    ) -> bytes:
        """An ACK with an answer to the server's offer; ``port`` is where sound is wanted, if not at
        the phone's own."""
        body = SDP.format(port=port or self.port, codecs=codecs)
        body = body.replace("a=sendrecv", f"a={direction}")
        return self.text("ACK", call_id, body=body, to=to, number=number)

    async def call(self, call_id: str, more: str = "", number: int = 1) -> str:
        """Be in a call; returns the server's tag."""
        self.send(self.invite(call_id, more=more, number=number))
        told = await self.answer(200, call_id)
        assert told.to_addr is not None
        tag = told.to_addr.tag
        assert tag
        self.send(self.text("ACK", call_id, to=tag, number=number))
        return tag


def left(listener: SipListener) -> int:
    """How much a listener knows of calls, open ones and others."""
    return len(listener._lines) + len(listener._offers) + len(listener._uas.active_calls)


@contextlib.asynccontextmanager
async def sip_phone(server: Address, host: str = "127.0.0.1") -> AsyncIterator[SipPhone]:
    """A phone while the block runs."""
    loop = asyncio.get_running_loop()
    transport, phone = await loop.create_datagram_endpoint(
        lambda: SipPhone(server), local_addr=(host, 0)
    )
    try:
        yield phone
    finally:
        transport.close()
