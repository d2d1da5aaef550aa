"""The asyncio shell around a `WebRtcLine`: aiortc's connection to one client, which is the socket
of a call, over which typed events pass in place of JSON.

aiortc's own buffer of the caller's packets holds them back for 320 ms after the first loss, and
decodes in a thread of its own for each call. What takes its place is `Reordering`. The tests fail
if another release of aiortc does not ask it.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from websockets.exceptions import ConnectionClosedOK

from duplex.config import WebRtcConfig
from duplex.logs import AnyLogger
from duplex.protocol import client_events
from duplex.protocol.client_events import ClientEvent
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import ServerEvent, encode, server_error
from duplex.rate import TokenBucket
from duplex.webrtc import ice, opus
from duplex.webrtc.line import Action, ToClient, WebRtcLine
from duplex.webrtc.offers import OfferError
from duplex.webrtc.playout import FRAME_MS, Pace
from duplex.webrtc.reordering import Counts, Gap, Reordering, Sound

logger = logging.getLogger(__name__)

CHANNEL = "oai-events"
_NORMAL, _LOST = 1000, 1006  # as a WebSocket's closing codes
_BURST_S = 10  # of messages that may come at once
_MOST_HEARD = 500  # pieces of sound that wait for the session: 10 s; past it the call ends
_MOST_UNSENT = 1024 * 1024  # bytes on the data channel; then the session waits
_FAREWELL_S = 1.0  # for the last events to be taken
_LOOK_S = 1.0  # between looks at whether anything comes
_BUFFER = "_RTCRtpReceiver__jitter_buffer"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may do: ``may_receive`` is asked for each number of bytes."""

    messages_per_s: int
    max_unread_bytes: int
    may_receive: Callable[[int], bool]


class Peer:
    """One client. `answer` its offer, then `ResumableCall` uses it as it uses any socket."""

    def __init__(
        self, config: WebRtcConfig, limits: Limits, log: AnyLogger, *, has_loopback: bool
    ) -> None:
        self._config = config
        self._limits = limits
        self._log = log
        self._has_loopback = has_loopback
        self._loop = asyncio.get_running_loop()
        self._line = WebRtcLine(random_id)
        self._inbox: deque[tuple[ClientEvent, int]] = deque()  # and its bytes
        self._unread_bytes = 0
        self._heard = 0  # pieces of sound in the inbox
        self._arrived = asyncio.Event()  # set when there is something in it, or will be no more
        self._messages = TokenBucket(
            limits.messages_per_s, limits.messages_per_s * _BURST_S, self._loop.time()
        )
        self._channel: RTCDataChannel | None = None  # set when the client opens it
        self._unsent: deque[str] = deque()  # until it is open
        self._drained = asyncio.Event()  # set when the channel has room
        self._drained.set()
        self._closed = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None  # set when it is closed
        self._watch: asyncio.Task[None] | None = None  # set when it was answered
        self._reordering = Reordering()
        self._decoder = opus.Decoder()
        self._encoder = opus.Encoder()
        self.was_dropped = False
        self.close_code: int | None = None
        self._connection = RTCPeerConnection(
            RTCConfiguration(
                iceServers=ice.servers(config), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
            )
        )
        self._connection.on("datachannel", self._channel_opened)
        self._connection.on("connectionstatechange", self._state_changed)

    @property
    def counts(self) -> Counts:
        """How the caller's sound arrives."""
        return self._reordering.counts

    async def answer(self, sdp: str) -> str:
        """Return the answer to an offer.

        Raises:
            OfferError: it cannot be used; the connection is closed.
        """
        connection = self._connection
        try:
            transceiver = connection.addTransceiver(_Track(self._next_packet), "sendrecv")
            opus_only = [
                codec
                for codec in RTCRtpSender.getCapabilities("audio").codecs
                if codec.mimeType.lower() == "audio/opus"
            ]
            transceiver.setCodecPreferences(opus_only)
            await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            receiver = transceiver.receiver
            assert hasattr(receiver, _BUFFER), "a release of aiortc that is not known"
            setattr(receiver, _BUFFER, _Tap(self._packet_came))
            ice.gather_as_configured(connection, self._config, self._has_loopback)
            await connection.setLocalDescription()
        except asyncio.CancelledError:
            await connection.close()
            raise
        except Exception as error:  # whatever aiortc makes of what strangers send
            self._log.debug("an offer cannot be used", exc_info=True)
            await connection.close()
            raise OfferError(f"The SDP offer cannot be used: {error}") from error
        self._watch = asyncio.create_task(self._watched())
        return str(connection.localDescription.sdp)

    # As the socket of a `ResumableCall`.

    async def recv(self) -> ClientEvent:
        """Return the next event for the session.

        Raises:
            ConnectionClosed: the client is gone.
        """
        while not self._inbox:
            if self._closed.is_set():
                raise ConnectionClosedOK(None, None)
            self._arrived.clear()
            await self._arrived.wait()
        event, size = self._inbox.popleft()
        self._unread_bytes -= size
        if isinstance(event, client_events.AudioAppend):
            self._heard -= 1
        return event

    async def send(self, message: ServerEvent) -> None:
        """Take an event of the session; waits while the client takes nothing.

        Raises:
            ConnectionClosed: the client is gone.
        """
        self._perform(self._line.handle_server_event(message))
        await self._drained.wait()
        if self._closed.is_set():
            raise ConnectionClosedOK(None, None)

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Hang up, once the client has what was sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                while self._unsent or self._buffered():
                    if self._closed.is_set():
                        break
                    await asyncio.sleep(FRAME_MS / 1000)
        self._end(code)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Until either side has hung up."""
        await self._closed.wait()

    def abort(self) -> None:
        """Hang up at once."""
        self._end(_LOST)

    async def stop(self) -> None:
        """Let go of everything. Waits for it."""
        self._end(_LOST)
        if self._stopping is not None:
            await self._stopping

    # The data channel.

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = _MOST_UNSENT // 2
        channel.on("message", self._message_came)
        channel.on("close", lambda: self._end(_NORMAL))
        channel.on("bufferedamountlow", self._drained.set)
        while self._unsent:
            self._write(self._unsent.popleft())

    def _message_came(self, message: str | bytes) -> None:
        if self._closed.is_set():
            return
        if not self._messages.take(1, self._loop.time()):
            self._drop("more messages a second than a client may send")
        elif not self._limits.may_receive(len(message)):
            self._drop("more bytes a second than this key may send")
        else:
            self._perform(self._line.receive(message), len(message))

    def _drop(self, reason: str) -> None:
        """End the call of a client that harms others."""
        self.was_dropped = True
        self._write(encode(server_error(reason, Code.RATE_LIMIT), random_id))
        self._loop.call_later(_FAREWELL_S, self._end, _NORMAL)
        self._arrived.set()

    def _perform(self, actions: Iterable[Action], size: int = 0) -> None:
        for action in actions:
            if isinstance(action, ToClient):
                self._write(action.text)
            else:
                self._put(action.event, size)

    def _put(self, event: ClientEvent, size: int) -> None:
        """Have the session obey ``event`` after those that wait."""
        if self.was_dropped or self._closed.is_set():
            return
        self._inbox.append((event, size))
        self._unread_bytes += size
        if isinstance(event, client_events.AudioAppend):
            self._heard += 1
        self._arrived.set()
        if self._heard > _MOST_HEARD or self._unread_bytes > self._limits.max_unread_bytes:
            self._drop("more than can be obeyed at this speed")

    def _write(self, text: str) -> None:
        if self._channel is None:
            self._unsent.append(text)  # bounded: the outbox of the call is its source
            return
        if self._channel.readyState == "open":
            self._channel.send(text)
            if self._buffered() > _MOST_UNSENT:
                self._drained.clear()

    def _buffered(self) -> int:
        return 0 if self._channel is None else int(self._channel.bufferedAmount)

    # The sound.

    def _packet_came(self, packet: RtpPacket) -> None:
        now_s = self._loop.time()
        try:
            length = opus.length_of(packet.payload)
        except ValueError:
            return
        if not self._limits.may_receive(len(packet.payload)):
            self._drop("more bytes a second than this key may send")
            return
        self._hear(
            self._reordering.put(
                packet.sequence_number, packet.timestamp, packet.payload, length, now_s
            )
        )

    def _hear(self, parts: Sequence[Sound | Gap]) -> None:
        for part in parts:
            if audio := self._decoder.decode(part):
                self._put(client_events.AudioAppend(audio=audio), 0)

    def _next_packet(self) -> opus.Packet:
        """What is played next, every 20 ms: also the clock of the caller's sound."""
        self._hear(self._reordering.tick(self._loop.time()))
        audio, actions = self._line.frame()
        self._perform(actions)
        return self._encoder.encode(audio)

    # The end.

    def _state_changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._end(_LOST)

    async def _watched(self) -> None:
        """End a call from which nothing comes any more, and one that never began."""
        came, since_s = 0, self._loop.time()
        while True:
            await asyncio.sleep(_LOOK_S)
            stats = await self._connection.getStats()
            now = sum(s.packetsReceived for s in stats.values() if s.type == "transport")
            if now != came:
                came, since_s = now, self._loop.time()
            elif self._loop.time() - since_s > self._config.silent_s:
                self._log.info("is ended: nothing came for %d s", self._config.silent_s)
                self._end(_LOST)
                return

    def _end(self, code: int) -> None:
        if self._stopping is not None:
            return
        self.close_code = code
        self._closed.set()
        self._arrived.set()
        self._drained.set()
        self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self._connection.close()


class _Track(MediaStreamTrack):
    """The sound of the replies, in real time."""

    kind = "audio"

    def __init__(self, next_packet: Callable[[], opus.Packet]) -> None:
        super().__init__()
        self._next_packet = next_packet
        self._pace = Pace()

    async def recv(self) -> opus.Packet:
        """The next 20 ms, when they are due."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._pace.next_s(loop.time()) - loop.time())
        return self._next_packet()


class _Tap:
    """Looks like aiortc's buffer, and passes the packets on."""

    def __init__(self, came: Callable[[RtpPacket], None]) -> None:
        self._came = came

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """Take a packet; nothing is to be decoded by aiortc."""
        self._came(packet)
        return False, None
