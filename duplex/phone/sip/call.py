"""One SIP call as a phone line: its dialog and its sound.

To the rest of the telephone it looks like the socket of a phone provider: `SipCodec` reads and
writes what passes over it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence

from aiosipua import IncomingCall, SdpNegotiationError, SipRequest
from aiosipua.dialog import dialog_matches
from websockets.exceptions import ConnectionClosedOK

from duplex.config import SipConfig
from duplex.errors import CallOverrun
from duplex.logs import AnyLogger, call_logger
from duplex.phone.codec import Wire
from duplex.phone.events import CallerAudio, KeyPressed, PhoneEvent, Played, Started, Stopped
from duplex.phone.sip.info import KeyWays, Way, read_key
from duplex.phone.sip.invite import told_by
from duplex.phone.sip.rtp import FRAME_MS, PAYLOAD_TYPES, Address, RtpSocket, RtpStream
from duplex.phone.sip.sdp import KEY_TYPE, Offer, answer, has_body, own_offer, read_offer
from duplex.phone.sip.socket import SipSocket

logger = logging.getLogger(__name__)

_MAX_WAITING = 500  # 10 s of frames that nobody has taken: the call is closed
_BYE_S = 2.0  # for a goodbye to be agreed to
_TRANSFER_S = 30.0  # for the other number to pick up
_NORMAL, _GONE = 1000, 1006  # as WebSockets are closed
_AUDIO, _MARK, _CLEAR = b"a", b"m", b"c"
_UNUSABLE = 'SIP;cause=488;text="no answer that can be used in the ACK"'  # RFC 3326


class SipCodec:
    """What passes over a `SipCall`, of one call: a letter, and the audio or the mark."""

    frame_ms = FRAME_MS
    has_marks = True

    def __init__(self, call: "SipCall") -> None:
        self._call = call

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """Return all events of the line, whatever the message."""
        return self._call.take()

    def play(self, audio: bytes) -> Wire:
        """See `PhoneCodec`."""
        return _AUDIO + audio

    def mark(self, name: str) -> Wire:
        """See `PhoneCodec`."""
        return _MARK + name.encode()

    def clear(self) -> Wire | None:
        """See `PhoneCodec`."""
        return _CLEAR

    def hang_up(self) -> Wire | None:
        """Closing it says BYE."""
        return None


class SipCall:
    """From the INVITE to the BYE of either side."""

    def __init__(
        self,
        call: IncomingCall,
        offer: Offer | None,
        socket: SipSocket,
        config: SipConfig,
        assistant: str,
        call_id: str,
    ) -> None:
        """``assistant`` is the one that is called; ``call_id`` is the server's, not SIP's. Without
        an ``offer`` the caller waits for ours."""
        self.call_id = call_id
        self._log = call_logger(logger, call_id)
        self._call = call
        self._offer = offer
        self._socket = socket
        self._config = config
        self._assistant = assistant
        self._events: list[PhoneEvent] = []  # that `take` has not returned
        self._wake = asyncio.Event()  # set when there is an event, or there will be no more
        self._closed = asyncio.Event()  # set at the end
        self._fault: Exception | None = None  # set if that ended it
        self._media: asyncio.Task[None] | None = None  # set while it is answered
        self._transferred: asyncio.Future[bool] | None = None  # set while a transfer is tried
        self._version = int(time.time())
        self._session_id = self._version
        self._port = 0
        self._answer_to: int | None = None  # CSeq of the INVITE whose ACK is to bring an answer
        self._agreed = asyncio.Event()  # set when the sound's encoding is, and at the end
        self._key_ways = KeyWays()
        self.stream = self._new_stream(offer)  # provisional until `_agreed`
        self._rtp = RtpSocket(self.stream, *self._places(offer))

    @property
    def is_answered(self) -> bool:
        """Whether it was picked up."""
        return self._port != 0

    def owns(self, request: SipRequest) -> bool:
        """Whether ``request`` is the caller's: a stranger may know the Call-ID, but neither our
        tag nor the branch of the INVITE, which a CANCEL repeats."""
        if request.method == "CANCEL":
            return request.via[0].branch == self._call.invite.via[0].branch
        return dialog_matches(self._call.dialog, request)

    @property
    def _host(self) -> str:
        """The address of ours that the caller is given."""
        return self._config.public_address or self._socket.local_addr[0]

    async def pick_up(self) -> bool:
        """Let it ring, and answer; False if the caller has given up meanwhile.

        Raises:
            OSError: no port is free for its sound.
        """
        self._call.ringing()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.ring_s):
                await self._closed.wait()
        if self._closed.is_set():
            return False
        port = await self._rtp.open(self._socket.local_addr[0], self._config.ports())
        if self._closed.is_set():  # while it was opened: it was closed too early
            self._rtp.close()
            return False
        self._port = port
        if self._offer is None:
            self._offer_own(PAYLOAD_TYPES, KEY_TYPE)
            await self._agreed.wait()
            if self._closed.is_set():
                return False
        else:
            self._accept(self._offer)
        parameters = {**told_by(self._call.invite), "assistant": self._assistant}
        started = Started(self._call.call_id, "", self.stream.encoding, parameters)
        self._events.insert(0, started)  # a key may have been pressed already
        self._media = asyncio.create_task(self._run_media())
        return True

    # As a socket of a phone provider.

    was_dropped = False
    close_code: int | None = None  # set when it is over

    async def recv(self) -> bytes:
        """Wait until the line has events for `take`.

        Raises:
            ConnectionClosedOK: the call is over.
            CallOverrun: events were not taken for too long.
        """
        while not self._events:
            if self._fault is not None:
                raise self._fault
            if self._closed.is_set():
                raise ConnectionClosedOK(None, None)
            self._wake.clear()
            await self._wake.wait()
        return b""

    def take(self) -> list[PhoneEvent]:
        """Return the events of the line since the last time."""
        events, self._events = self._events, []
        return events

    async def send(self, message: Wire) -> None:
        """Obey what `SipCodec` writes."""
        assert isinstance(message, bytes)
        match message[:1], message[1:]:
            case (b"a", audio):
                self.stream.play(audio)
            case (b"m", name):
                self.stream.mark(name.decode())
            case _:
                self.stream.clear()

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Hang up, if the caller has not."""
        if self._closed.is_set():
            return
        self._end(code)
        bye = self._request("BYE")
        self._call.dialog.terminate()
        if self.is_answered:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BYE_S):
                    await self._socket.ask(bye, self._call.source_addr)

    async def wait_closed(self) -> None:
        """Until either side has hung up."""
        await self._closed.wait()

    def abort(self) -> None:
        """Hang up without waiting for an answer."""
        if not self._closed.is_set():
            self._end(_GONE)
            self._call.hangup()

    async def transfer(self, call: Started, number: str, log: AnyLogger) -> bool:
        """Have the caller's phone call ``number`` instead (REFER, RFC 3515); return whether it
        was connected."""
        refer = self._request("REFER")
        is_uri = number.startswith(("sip:", "sips:", "tel:"))
        target = number if is_uri else f"sip:{number}@{self._call.source_addr[0]}"
        refer.headers.set_single("Refer-To", f"<{target}>")
        refer.headers.set_single("Referred-By", f"<{self._call.dialog.local_uri}>")
        self._transferred = asyncio.get_running_loop().create_future()
        try:
            answered = await self._socket.ask(refer, self._call.source_addr)
            if not 200 <= answered.status_code < 300:
                log.info("a transfer was refused: %d", answered.status_code)
                return False
            async with asyncio.timeout(_TRANSFER_S):
                return await self._transferred
        except TimeoutError:
            return False
        finally:
            self._transferred = None

    # What the other side does.

    def stopped(self) -> None:
        """The caller has hung up, or given up."""
        if not self._closed.is_set():
            self.transfer_progressed(200)  # it calls the other number now
            self._put(Stopped())
            self._end(_NORMAL)

    @property
    def awaits_answer(self) -> bool:
        """Whether we have made an offer that the caller has not answered."""
        return self._answer_to is not None

    def acknowledged(self, ack: SipRequest) -> None:
        """The caller has seen that we answered: it is where it says, and wants to hear us. If the
        offer was ours, its answer is in ``ack``; without one that can be used the call ends."""
        self._rtp.is_wanted = True
        if self._answer_to is None or ack.cseq is None or ack.cseq.seq != self._answer_to:
            return
        self._answer_to = None
        try:
            answered = read_offer(
                ack, only=None if self._offer is None else self.stream.payload_type
            )
        except SdpNegotiationError as error:
            self._log.info("is ended: its ACK has no answer that can be used: %s", error)
            self._end(_NORMAL)
            bye = self._request("BYE")
            bye.headers.set_single("Reason", _UNUSABLE)
            self._call.dialog.terminate()
            self._socket.send(bye, self._call.source_addr)
            return
        if self._offer is None:
            self._offer = answered
            self.stream = self._rtp.stream = self._new_stream(answered)
            self._agreed.set()
        self._move(answered)

    def informed(self, request: SipRequest) -> None:
        """The caller's phone reports a key by an INFO.

        Raises:
            UnknownBody: it is about something else.
            ValueError: it cannot be read.
        """
        key = read_key(request.content_type, request.text)
        if key is not None:
            self._pressed(key, "info")

    def transfer_progressed(self, status: int) -> None:
        """The caller's phone has got ``status`` from the other number."""
        if status >= 200 and self._transferred is not None and not self._transferred.done():
            self._transferred.set_result(status < 300)

    def changed(self) -> None:
        """The caller puts us on hold, comes back, or has moved (a re-INVITE); or it has us offer
        what we have, as exchanges do that connect a caller anew."""
        call = self._call
        if not has_body(call.invite):
            self._offer_own((self.stream.payload_type,), self.stream.key_type or KEY_TYPE)
            return
        try:
            offer = read_offer(call.invite, only=self.stream.payload_type)
        except SdpNegotiationError as error:
            self._log.info("a change was refused: %s", error)
            self._socket.send_reply(call.dialog.create_response(call.invite, 488))
            return
        self._move(offer)
        self._accept(offer)

    # Inside.

    def _accept(self, offer: Offer) -> None:
        self._call.accept(answer(offer, self._host, self._port, self._session_id, self._version))
        self._version += 1

    def _offer_own(self, payload_types: Iterable[int], key_type: int) -> None:
        """Answer an INVITE that offers nothing with an offer (RFC 3261 sections 13.2.1, 14.1)."""
        cseq = self._call.invite.cseq
        assert cseq is not None, "aiosipua refuses requests without"
        self._answer_to = cseq.seq
        self._call.accept(
            own_offer(
                self._host, self._port, payload_types, key_type, self._session_id, self._version
            )
        )
        self._version += 1

    def _new_stream(self, offer: Offer | None) -> RtpStream:
        stream = RtpStream(
            min(PAYLOAD_TYPES) if offer is None else offer.payload_type,
            KEY_TYPE if offer is None else offer.key_type,
            on_key=lambda key: self._pressed(key, "sound"),
            on_played=lambda mark: self._put(Played(mark)),
            now=time.monotonic,
        )
        stream.is_held = offer is not None and offer.is_hold
        return stream

    def _move(self, offer: Offer) -> None:
        """Obey what the caller says now of holding, and of where it is."""
        self.stream.is_held = offer.is_hold
        self.stream.key_type = offer.key_type or self.stream.key_type
        if offer.remote is not None:
            self._rtp.redirect(*self._places(offer))

    def _pressed(self, key: str, way: Way) -> None:
        if self._key_ways.is_new(key, way, time.monotonic()):
            self._put(KeyPressed(key))

    def _places(self, offer: Offer | None) -> tuple[Address, frozenset[str]]:
        """Where sound goes, and from which hosts it may come."""
        source = self._call.source_addr
        remote = source if offer is None or offer.remote is None else offer.remote
        # A phone on this machine may name its network's address and send from that of ours.
        return remote, frozenset({remote[0], source[0], self._socket.local_addr[0]})

    def _request(self, method: str) -> SipRequest:
        host, port = self._host, self._socket.local_addr[1]
        request = self._call.dialog.create_request(method, via_host=host, via_port=port)
        request.headers.set_single("Contact", f"<sip:{host}:{port}>")
        return request

    async def _run_media(self) -> None:
        """One frame out and one in every 20 ms, until nothing has come for too long."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time()
        try:
            while len(self._events) < _MAX_WAITING:
                deadline_s += FRAME_MS / 1000
                await asyncio.sleep(max(0.0, deadline_s - loop.time()))
                self._put(CallerAudio(self._rtp.tick()))
                silent_s = time.monotonic() - self.stream.heard_at_s
                if silent_s > self._config.silent_s and not self.stream.is_held:
                    self._log.info("is ended: nothing came for %d s", silent_s)
                    self.abort()
                    return
            raise CallOverrun("the call is not kept up with")
        except Exception as error:
            self._fault = error
            self.abort()

    def _put(self, event: PhoneEvent) -> None:
        self._events.append(event)
        self._wake.set()

    def _end(self, code: int) -> None:
        self.close_code = code
        self._closed.set()
        self._agreed.set()
        self._wake.set()
        self._rtp.close()
        if self._media is not None and self._media is not asyncio.current_task():
            self._media.cancel()
