"""The sound of a SIP call: G.711 in RTP over UDP, one frame in and one out every 20 ms.

Packets and keys are read and written by aiortp; why not its `RTPSession`, see `JitterBuffer`.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiortp import DtmfReceiver, RtpPacket, RtpTransport

from duplex.phone.events import KEYS, PCMA, PCMU, Encoding
from duplex.phone.sip.jitter import FRAME_SAMPLES, Counts, JitterBuffer

logger = logging.getLogger(__name__)

Address = tuple[str, int]

FRAME_MS = 20
PAYLOAD_TYPES = {0: PCMU, 8: PCMA}  # RFC 3551, table 4
_MAX_PAYLOAD = 10 * FRAME_SAMPLES  # 200 ms, and a byte is a sample; no phone sends more at once


class Frames:
    """The payloads of a stream, cut anew at every 160 samples: some phones send 10 or 30 ms."""

    def __init__(self) -> None:
        self._origin: int | None = None  # timestamp at which the last packet's frame begins
        self._parts: dict[int, dict[int, bytes]] = {}  # frame -> offset in it -> audio

    def feed(self, timestamp: int, payload: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that ``payload`` completes, with their timestamps."""
        if self._origin is None:
            self._origin = timestamp
        apart = (timestamp - self._origin + 2**31) % 2**32 - 2**31  # timestamps wrap
        ahead = apart % FRAME_SAMPLES
        self._origin = (timestamp - ahead) % 2**32
        if not ahead and len(payload) == FRAME_SAMPLES:
            return [(timestamp, payload)]
        whole: list[tuple[int, bytes]] = []
        at = 0
        while at < len(payload):
            offset = (ahead + at) % FRAME_SAMPLES
            frame = (timestamp + at - offset) % 2**32
            piece = payload[at : at + FRAME_SAMPLES - offset]
            at += len(piece)
            parts = self._parts.setdefault(frame, {})
            parts[offset] = piece
            if sum(map(len, parts.values())) >= FRAME_SAMPLES:
                del self._parts[frame]
                joined = b"".join(parts[start] for start in sorted(parts))
                whole.append((frame, joined[:FRAME_SAMPLES]))
        while len(self._parts) > 4:  # their other halves were lost
            del self._parts[next(iter(self._parts))]
        return whole


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str


class RtpStream:
    """Both directions of one call, sans-IO: packets and ticks in, frames and packets out."""

    def __init__(
        self,
        payload_type: int,
        key_type: int | None,
        *,
        on_key: Callable[[str], None],
        on_played: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        """``key_type`` is the payload type of telephone events (RFC 4733), None without.
        ``on_played`` is called with each mark when the audio before it is sent."""
        self.encoding: Encoding = PAYLOAD_TYPES[payload_type]
        self.heard_at_s = now()  # when the last packet came
        self.malformed = 0
        self.is_held = False  # the caller does not want to hear us
        self.payload_type = payload_type
        self.key_type = key_type
        self._on_key = on_key
        self._on_played = on_played
        self._now = now
        self._silence = self.encoding.silence * FRAME_SAMPLES
        self._buffer = JitterBuffer(self.encoding.codec)
        self._frames = Frames()
        self._keys = DtmfReceiver(lambda digit, _: self._pressed(digit))
        self._source_id: int | None = None  # the SSRC of the caller's stream
        self._queue: deque[bytes | _Mark] = deque()
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)

    def receive(self, datagram: bytes) -> bool:
        """Take a packet; False if it is none of this stream."""
        try:
            packet = RtpPacket.parse(datagram)
            if packet.payload_type == self.key_type:
                self._keys.handle_packet(packet)
            elif packet.payload_type == self.payload_type:
                self._take(packet)
            else:
                return False
        except ValueError:
            self.malformed += 1
            return False
        self.heard_at_s = self._now()
        return True

    def _take(self, packet: RtpPacket) -> None:
        if len(packet.payload) > _MAX_PAYLOAD:
            raise ValueError("too long")
        if packet.ssrc != self._source_id:  # also after a transfer on the other side
            self._source_id = packet.ssrc
            self._buffer.reset()
            self._frames = Frames()
        for timestamp, frame in self._frames.feed(packet.timestamp, packet.payload):
            self._buffer.put(timestamp, frame, self._now())

    def _pressed(self, digit: str) -> None:
        if digit in KEYS:
            self._on_key(digit)

    def tick(self, is_wanted: bool = True) -> tuple[bytes, bytes | None]:
        """20 ms have passed: what was heard in them, silence if nothing came, and the packet to
        send, if it is wanted and we are not held. One is sent in silence too: it keeps ways
        through NAT open, and phones hang up on a line that is dead."""
        samples = self._buffer.tick(self._now())
        if self.is_held:
            samples = None  # music
        heard = self._silence if samples is None else self.encoding.codec.encode(samples)
        return heard, self._next_packet(is_wanted)

    @property
    def counts(self) -> Counts:
        """How the caller's sound arrives."""
        return self._buffer.counts

    def _next_packet(self, is_wanted: bool) -> bytes | None:
        self._timestamp = (self._timestamp + FRAME_SAMPLES) % 2**32
        if self.is_held or not is_wanted:
            return None
        payload = self._silence
        while self._queue and isinstance(mark := self._queue[0], _Mark):
            self._queue.popleft()
            self._on_played(mark.name)
        if self._queue:
            frame = self._queue.popleft()
            assert isinstance(frame, bytes)
            payload = frame
        packet = RtpPacket(
            payload_type=self.payload_type,
            sequence_number=self._sequence,
            timestamp=self._timestamp,
            ssrc=self._ssrc,
            payload=payload,
        )
        self._sequence = (self._sequence + 1) % 2**16
        return packet.serialize()

    def play(self, audio: bytes) -> None:
        """Queue whole frames, behind what waits."""
        for start in range(0, len(audio), FRAME_SAMPLES):
            frame = audio[start : start + FRAME_SAMPLES]
            self._queue.append(frame + self._silence[len(frame) :])

    def mark(self, name: str) -> None:
        """Call ``on_played`` with ``name`` when all audio so far was sent."""
        self._queue.append(_Mark(name))

    def clear(self) -> None:
        """Forget what waits to be sent. Its marks are reported at once, as phone providers do."""
        marks = [entry for entry in self._queue if isinstance(entry, _Mark)]
        self._queue.clear()
        for mark in marks:
            self._on_played(mark.name)


class RtpSocket:
    """The UDP socket of one stream, and where its packets go."""

    def __init__(self, stream: RtpStream, remote: Address, trusted: frozenset[str]) -> None:
        """Packets are taken only from the hosts in ``trusted``; they are sent to ``remote`` until
        one has come, then to where that came from, which is how callers behind NAT are reached.
        Nothing is sent before one has come or `is_wanted` is set: anybody can name another's
        address, and have us send there.
        """
        self.stream = stream
        self.is_wanted = False
        self._remote = remote
        self._trusted = trusted
        self._is_latched = False
        self._wire = RtpTransport(on_rtp=self._received, on_rtcp=lambda *_: None)

    async def open(self, host: str, ports: tuple[int, int]) -> int:
        """Bind to a free port of the range, any if that is (0, 0), and return it.

        Raises:
            OSError: there is none.
        """
        loop = asyncio.get_running_loop()
        first, last = ports
        for port in range(first, last + 1, 2) if first else (0,):
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: self._wire, local_addr=(host, port)
                )
            except OSError:
                if port in (0, last, last - 1):
                    raise
            else:
                bound: int = transport.get_extra_info("sockname")[1]
                return bound
        raise OSError("no free port for RTP")

    def redirect(self, remote: Address, trusted: frozenset[str]) -> None:
        """The caller's sound comes from, and goes to, another place from now on."""
        self._remote, self._trusted, self._is_latched = remote, trusted, False

    def tick(self) -> bytes:
        """Send the next packet; return the audio that was heard meanwhile."""
        heard, packet = self.stream.tick(self.is_wanted)
        if packet is not None:
            self._wire.send(packet, self._remote)
        return heard

    def close(self) -> None:
        """Send and take nothing more."""
        self._wire.close()

    def _received(self, datagram: bytes, source: Address) -> None:
        if source[0] not in self._trusted or (self._is_latched and source != self._remote):
            return
        if self.stream.receive(datagram) and not self._is_latched:
            self._remote, self._is_latched, self.is_wanted = source[:2], True, True
