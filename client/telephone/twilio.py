"""A telephone call as Twilio makes it: a phone, the line, and the stream to the server under test.

`TwilioEnd` does what Twilio does, by the frame and without a clock: the caller's audio goes out
every 20 ms, what the server sends is buffered and played, a mark comes back when the audio before
it was played, and `clear` empties the buffer and brings all marks back at once.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from client.realtime import ConnectionLost, Refused, Unreachable
from client.telephone.channel import FRAME_MS, FRAME_SAMPLES, LINE_HZ, TelephoneChannel
from duplex.audio.formats import decode_ulaw, encode_ulaw
from duplex.audio.resample import resample

Samples = NDArray[np.float32]

SILENCE = b"\xff"
_BUFFER_S = 60.0  # of the server's audio; Twilio's own bound is not known, ours shows a flood


class Misbehaviour(Exception):
    """The server sent what closes a stream of Twilio's (error 31924)."""


@dataclass(slots=True)
class TwilioEnd:
    """One stream. Positions are samples of 8 kHz from its beginning."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    uplink: TelephoneChannel | None = None
    downlink: TelephoneChannel | None = None
    stream_sid: str = "MZ00000000000000000000000000000001"
    call_sid: str = "CA00000000000000000000000000000001"
    account_sid: str = "AC00000000000000000000000000000001"
    stall_ms: int = 0  # for so long nothing more is played, as on a bad line
    position: int = 0
    clears: list[int] = field(default_factory=list)  # when the server has cleared
    sent: list[tuple[int, int]] = field(default_factory=list)  # when, and how much was buffered
    _heard: list[Samples] = field(default_factory=list)
    _mouth: deque[Samples] = field(default_factory=deque)
    _buffer: bytearray = field(default_factory=bytearray)
    _marks: deque[tuple[int, str]] = field(default_factory=deque)  # bytes before it, name
    _out: list[dict[str, Any]] = field(default_factory=list)
    _numbered: int = 0

    def start(self) -> list[str]:
        """What comes first."""
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": form,
            "customParameters": dict(self.parameters),
        }
        connected = json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        return [connected, self._message("start", start=start)]

    def say(self, samples: Samples, rate_hz: int = LINE_HZ) -> None:
        """Speak after what is being said."""
        narrow = resample(samples, rate_hz, LINE_HZ)
        whole = -(-len(narrow) // FRAME_SAMPLES) * FRAME_SAMPLES
        padded = np.zeros(whole, np.float32)
        padded[: len(narrow)] = narrow
        self._mouth.extend(padded.reshape(-1, FRAME_SAMPLES))

    @property
    def is_speaking(self) -> bool:
        """Whether the caller is saying something."""
        return bool(self._mouth)

    @property
    def buffered_ms(self) -> float:
        """Of the server's audio."""
        return len(self._buffer) * 1000 / LINE_HZ

    def press(self, keys: str) -> None:
        """Press keys."""
        for key in keys:
            self._tell("dtmf", dtmf={"track": "inbound_track", "digit": key})

    def receive(self, message: str | bytes) -> None:
        """Obey the server.

        Raises:
            Misbehaviour: Twilio does not know such a message.
        """
        try:
            told = json.loads(message)
            if told["streamSid"] != self.stream_sid:
                raise Misbehaviour(f"another stream: {told['streamSid']}")
            match told["event"]:
                case "media":
                    self._buffer += base64.b64decode(told["media"]["payload"], validate=True)
                    self.sent.append((self.position, len(self._buffer)))
                case "mark":
                    self._mark(told["mark"]["name"])
                case "clear":
                    self.clears.append(self.position)
                    self._buffer.clear()
                    while self._marks:
                        self._return_mark()
                case kind:
                    raise Misbehaviour(f"an event {kind}")
        except (ValueError, KeyError, TypeError) as error:
            raise Misbehaviour(f"{message[:200]!r}") from error
        if len(self._buffer) > _BUFFER_S * LINE_HZ:
            raise Misbehaviour("a minute of audio was sent ahead")

    def tick(self) -> list[str]:
        """20 ms pass; returns what is sent to the server."""
        spoken = self._mouth.popleft() if self._mouth else np.zeros(FRAME_SAMPLES, np.float32)
        if self.uplink is not None:
            spoken = self.uplink.feed(spoken)
        stalls, self.stall_ms = self.stall_ms > 0, max(0, self.stall_ms - FRAME_MS)
        played = b"" if stalls else bytes(self._buffer[:FRAME_SAMPLES])
        del self._buffer[: len(played)]
        heard = decode_ulaw(played + SILENCE * (FRAME_SAMPLES - len(played)))
        self._heard.append(heard if self.downlink is None else self.downlink.feed(heard))
        self._marks = deque((at - len(played), name) for at, name in self._marks)
        while self._marks and self._marks[0][0] <= 0:
            self._return_mark()
        media = {
            "track": "inbound",
            "chunk": str(self.position // FRAME_SAMPLES + 1),
            "timestamp": str(self.position * 1000 // LINE_HZ),
            "payload": base64.b64encode(encode_ulaw(spoken)).decode(),
        }
        self._tell("media", media=media)
        self.position += FRAME_SAMPLES
        return self._take()

    def stop(self) -> list[str]:
        """The caller hangs up."""
        self._tell("stop", stop={"accountSid": self.account_sid, "callSid": self.call_sid})
        return self._take()

    def heard(self, start: int = 0, end: int | None = None) -> Samples:
        """What came out of the caller's telephone, 8 kHz."""
        first = max(0, start + self.position if start < 0 else start) // FRAME_SAMPLES
        frames = self._heard[first:]
        whole = np.concatenate(frames) if frames else np.zeros(0, np.float32)
        offset = first * FRAME_SAMPLES
        begin = max(0, (start + self.position if start < 0 else start) - offset)
        return whole[begin : None if end is None else end - offset]

    def _mark(self, name: str) -> None:
        self._marks.append((len(self._buffer), name))
        if not self._buffer:
            self._return_mark()

    def _return_mark(self) -> None:
        _, name = self._marks.popleft()
        self._tell("mark", mark={"name": name})

    def _tell(self, event: str, **fields: Any) -> None:
        self._out.append({"event": event, **fields})

    def _take(self) -> list[str]:
        out, self._out = self._out, []
        return [self._message(message.pop("event"), **message) for message in out]

    def _message(self, event: str, **fields: Any) -> str:
        self._numbered += 1
        head = {"event": event, "sequenceNumber": str(self._numbered)}
        return json.dumps({**head, **fields, "streamSid": self.stream_sid})


class PhoneCall:
    """A `TwilioEnd` on a real connection, in real time. ``misbehaviour`` is set if the server
    was one that Twilio hangs up on; ``closed`` when the call is over."""

    def __init__(self, end: TwilioEnd, websocket: ClientConnection) -> None:
        self.end = end
        self.misbehaviour: Misbehaviour | None = None
        self.closed = asyncio.Event()
        self._websocket = websocket
        self._ticked = asyncio.Event()  # set with each frame

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Hold the line until something is so.

        Raises:
            TimeoutError: it did not become so.
            ConnectionLost: the call is over.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                if self.closed.is_set():
                    raise ConnectionLost("the server ended the call")
                self._ticked.clear()
                await self._ticked.wait()

    async def hear_answer(self, timeout_s: float = 30.0, pause_ms: int = 800) -> Samples:
        """Wait until the server has spoken and paused; returns what was heard meanwhile."""
        start = self.end.position
        await self.until(lambda: self.end.buffered_ms > 0, timeout_s)
        quiet_since = self.end.position

        def is_over() -> bool:
            nonlocal quiet_since
            if self.end.buffered_ms > 0:
                quiet_since = self.end.position
            return (self.end.position - quiet_since) * 1000 >= pause_ms * LINE_HZ

        await self.until(is_over, timeout_s)
        return self.end.heard(start)

    async def hang_up(self) -> None:
        """The caller ends the call."""
        with contextlib.suppress(ConnectionClosed):
            for message in self.end.stop():
                await self._websocket.send(message)
        await self._websocket.close()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        try:
            while True:
                for message in self.end.tick():
                    await self._websocket.send(message)
                self._ticked.set()
                due_s += FRAME_MS / 1000
                await asyncio.sleep(due_s - loop.time())
        except ConnectionClosed:
            self._over()

    async def _receive(self) -> None:
        try:
            while True:
                self.end.receive(await self._websocket.recv())
        except Misbehaviour as error:
            self.misbehaviour = error
            await self._websocket.close()
            self._over()
        except ConnectionClosed:
            self._over()

    def _over(self) -> None:
        self.closed.set()
        self._ticked.set()


@contextlib.asynccontextmanager
async def phone_call(
    url: str, end: TwilioEnd | None = None, token: str | None = None
) -> AsyncGenerator[PhoneCall, None]:
    """Call a server as Twilio does, signing with the account's auth ``token``.

    Raises:
        Unreachable: nothing answers there.
        Refused: the server does not take the call.
    """
    headers = {} if token is None else {"X-Twilio-Signature": signature(token, url)}
    try:
        websocket = await open_websocket(url, additional_headers=headers, compression=None)
    except (InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
        kind = Refused if isinstance(error, InvalidHandshake) else Unreachable
        raise kind(f"{url}: {error}") from error
    call = PhoneCall(end or TwilioEnd(), websocket)
    async with websocket:
        for message in call.end.start():
            await websocket.send(message)
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(call._send()), tasks.create_task(call._receive())]
            try:
                yield call
            finally:
                await call.hang_up()
                for task in working:
                    task.cancel()


async def phone_talk(
    url: str, turns: Sequence[Samples], rate_hz: int, token: str | None
) -> Samples:
    """Say each of ``turns`` when the answer to the one before was heard; returns what the caller
    heard, 8 kHz.

    Raises:
        ClientError: the call could not be held.
    """
    async with phone_call(url, token=token) as call:
        for samples in turns:
            call.end.say(samples, rate_hz)
            await call.until(lambda: not call.end.is_speaking, len(samples) / rate_hz + 10)
            await call.hear_answer()
        return call.end.heard()


def signature(token: str, url: str) -> str:
    """Twilio's, of a stream's address."""
    digest = hmac.new(token.encode(), url.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
