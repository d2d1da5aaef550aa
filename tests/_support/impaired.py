"""A bad network between a softphone and a server: a relay for SIP and RTP that loses and delays
what it passes on, in both directions."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiosipua import SipMessage, parse_sdp, serialize_sdp

Address = tuple[str, int]
_HOST = "127.0.0.1"


@dataclass
class Network:
    """``loss`` is the share of packets that never arrive; each other one is late by up to
    ``jitter_s``, so that packets overtake one another. ``sip_loss`` is that of the signalling."""

    loss: float = 0.0
    jitter_s: float = 0.0
    sip_loss: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    passed: int = 0
    lost: int = 0
    to_phone: list[bytes] = field(default_factory=list)  # packets of sound that were sent there

    def carry(self, deliver: Callable[[], None]) -> None:
        """One packet of sound."""
        if self.dice.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        delay_s = self.dice.uniform(0, self.jitter_s)
        asyncio.get_running_loop().call_later(delay_s, deliver)


class _Port(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received(data, addr[:2])

    def send(self, data: bytes, to: Address) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(data, to)  # type: ignore[attr-defined]

    @property
    def number(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port


class _Relay:
    """Stands between one phone and the server: each side sees only the relay."""

    def __init__(self, network: Network, server: Address) -> None:
        self._network = network
        self._server = server
        self._phone: Address | None = None
        self._sound_of_phone: Address | None = None
        self._sound_of_server: Address | None = None

    async def open(self) -> int:
        """Return the port that a phone is to call."""
        self.to_phone = await _open(lambda data, addr: self._from_phone(data, addr))
        self.to_server = await _open(lambda data, _: self._from_server(data))
        self.sound_to_phone = await _open(lambda data, _: self._sound(data, to_server=True))
        self.sound_to_server = await _open(lambda data, _: self._sound(data, to_server=False))
        return self.to_phone.number

    def close(self) -> None:
        for port in (self.to_phone, self.to_server, self.sound_to_phone, self.sound_to_server):
            port.transport.close()  # type: ignore[attr-defined]

    def _from_phone(self, data: bytes, source: Address) -> None:
        self._phone = source
        if self._network.dice.random() < self._network.sip_loss:
            return
        data, sound = _readdress(data, self.to_server.number, self.sound_to_server.number)
        self._sound_of_phone = sound or self._sound_of_phone
        self.to_server.send(data, self._server)

    def _from_server(self, data: bytes) -> None:
        if self._network.dice.random() < self._network.sip_loss:
            return
        data, sound = _readdress(data, self.to_phone.number, self.sound_to_phone.number)
        self._sound_of_server = sound or self._sound_of_server
        assert self._phone is not None
        self.to_phone.send(data, self._phone)

    def _sound(self, data: bytes, *, to_server: bool) -> None:
        to = self._sound_of_server if to_server else self._sound_of_phone
        port = self.sound_to_server if to_server else self.sound_to_phone
        if not to_server:
            self._network.to_phone.append(data)
        if to is not None:
            self._network.carry(lambda: port.send(data, to))


def _readdress(data: bytes, contact: int, port: int) -> tuple[bytes, Address | None]:
    """Put the relay in place of whoever wrote the message: ``contact`` is called in the call, and
    ``port`` gets the sound. Return where that is to go, if the message tells."""
    message = SipMessage.parse(data)
    if message.contact:
        message.set_header("Contact", f"<sip:{_HOST}:{contact}>")
    if message.content_type != "application/sdp":
        return bytes(message), None
    sdp = parse_sdp(message.text)
    sound = sdp.rtp_address
    assert sdp.audio is not None
    sdp.audio.port = port
    message.text = serialize_sdp(sdp)
    return bytes(message), sound


async def _open(received: Callable[[bytes, Address], None]) -> _Port:
    loop = asyncio.get_running_loop()
    _, port = await loop.create_datagram_endpoint(lambda: _Port(received), local_addr=(_HOST, 0))
    return port


@contextlib.asynccontextmanager
async def impaired(server: Address, network: Network) -> AsyncIterator[int]:
    """Relay while the block runs; gives the port to call in place of the server's."""
    relay = _Relay(network, server)
    port = await relay.open()
    try:
        yield port
    finally:
        relay.close()
