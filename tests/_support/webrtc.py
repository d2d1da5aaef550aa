"""A caller over WebRTC in Python, and a bad network between it and the server."""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

RATE_HZ = 24_000
_FRAME = 480
_CANDIDATE = re.compile(r"^a=candidate:.*\r\n", re.MULTILINE)
_PLACE = re.compile(r"^(a=candidate:\S+ \d+ udp \d+) (\S+) (\d+) (typ host.*)$", re.MULTILINE)


@dataclass
class Network:
    """``loss`` is the share of packets that never arrive; each other one is late by up to
    ``jitter_s``, so that packets overtake one another."""

    loss: float = 0.0
    jitter_s: float = 0.0
    is_cut: bool = False  # set to lose everything
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    passed: int = 0
    lost: int = 0

    def carry(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        """One packet of sound. What is no RTP passes: DTLS has its own repetitions, in seconds."""
        is_sound = len(data) > 1 and 128 <= data[0] < 192 and not 64 <= data[1] & 127 < 96
        if self.is_cut or (is_sound and self.dice.random() < self.loss):
            self.lost += 1
            return
        self.passed += is_sound
        delay_s = self.dice.uniform(0, self.jitter_s) if is_sound else 0.0
        asyncio.get_running_loop().call_later(delay_s, deliver, data)


class _Port(asyncio.DatagramProtocol):
    """One end of a relay."""

    def __init__(self) -> None:
        self.to: tuple[str, int] | None = None  # where the other side's packets go
        self.other: _Port | None = None
        self.network: Network | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.to = self.to or (addr[0], addr[1])
        assert self.network is not None
        assert self.other is not None
        self.network.carry(data, self.other.deliver)

    def deliver(self, data: bytes) -> None:
        if self.to is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.to)  # type: ignore[attr-defined]


async def relayed(answer: str, network: Network) -> tuple[str, list[asyncio.BaseTransport]]:
    """An answer of a server whose every address is replaced by that of a relay."""
    loop = asyncio.get_running_loop()
    opened: list[asyncio.BaseTransport] = []
    for _, host, port, _ in _PLACE.findall(answer):
        if ":" in host:
            continue
        ends = []
        for _ in range(2):
            transport, end = await loop.create_datagram_endpoint(_Port, local_addr=(host, 0))
            opened.append(transport)
            ends.append(end)
        caller, server = ends
        caller.other, server.other = server, caller
        caller.network = server.network = network
        server.to = (host, int(port))
        place = caller.transport.get_extra_info("sockname")[1]
        answer = answer.replace(f" {host} {port} typ", f" {host} {place} typ")
    kept = "".join(
        line
        for line in answer.splitlines(keepends=True)
        if not (line.startswith("a=candidate") and ":" in line.split(" ")[4])
    )
    return kept, opened


class _Microphone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._pcm = np.zeros(0, np.int16)
        self._sent = 0
        self._start_s: float | None = None

    def say(self, samples: NDArray[np.float32]) -> None:
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        self._pcm = np.concatenate([self._pcm, pcm])

    @property
    def is_silent(self) -> bool:
        return not len(self._pcm)

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        self._start_s = loop.time() if self._start_s is None else self._start_s
        await asyncio.sleep(self._start_s + self._sent / RATE_HZ - loop.time())
        samples, self._pcm = self._pcm[:_FRAME], self._pcm[_FRAME:]
        samples = np.pad(samples, (0, _FRAME - len(samples)))
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
        frame.pts = self._sent
        self._sent += _FRAME
        return frame


class Caller:
    """One call. `events` are those of the data channel, `heard` the sound, 48 kHz."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.events: list[dict[str, Any]] = []
        self.call_id = ""
        self.location = ""
        self.is_closed = asyncio.Event()
        self._changed = asyncio.Event()
        self._frames: list[tuple[float, NDArray[np.float32]]] = []
        self.microphone = _Microphone()
        self.connection.addTrack(self.microphone)
        self.channel = self.connection.createDataChannel("oai-events")
        self.channel.on("message", self._came)
        self.channel.on("close", self.is_closed.set)
        self.opened = asyncio.Event()
        self.channel.on("open", self.opened.set)
        self.connection.on("track", self._track)
        self._listening: asyncio.Task[None] | None = None

    def _came(self, message: str) -> None:
        self.events.append(json.loads(message))
        self._changed.set()

    def _track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.ensure_future(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                self._frames.append((loop.time(), pcm.astype(np.float32) / np.float32(32768)))

    @property
    def heard(self) -> NDArray[np.float32]:
        """All that came."""
        parts = [samples for _, samples in self._frames]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def heard_since(self, time_s: float) -> NDArray[np.float32]:
        """What has come since a time of the loop."""
        parts = [samples for at_s, samples in self._frames if at_s >= time_s]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def send(self, event: dict[str, Any]) -> None:
        self.channel.send(json.dumps(event))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of a type so far."""
        return [event for event in self.events if event["type"] == kind]

    async def until(self, kind: str, count: int = 1, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for the ``count``-th event of a type."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.of(kind)) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = [event["type"] for event in self.events]
            raise AssertionError(f"in vain for {kind}; there were {seen[-30:]}") from None
        return self.of(kind)[count - 1]

    async def offer(self) -> str:
        await self.connection.setLocalDescription()
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))


async def post(
    url: str, body: bytes | aiohttp.FormData, key: str = "", content_type: str = "application/sdp"
) -> tuple[int, dict[str, str], str]:
    """Ask; returns the status, the headers and the body of the answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if isinstance(body, bytes):
        headers["Content-Type"] = content_type
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.text()


@contextlib.asynccontextmanager
async def calling(
    http: str,
    *,
    key: str = "",
    session: dict[str, Any] | None = None,
    network: Network | None = None,
) -> AsyncIterator[Caller]:
    """A call to the server at ``http`` while the block runs."""
    caller = Caller()
    relays: list[asyncio.BaseTransport] = []
    try:
        offer = await caller.offer()
        if network is not None:  # the server finds the caller by what comes through the relay
            offer = _CANDIDATE.sub("", offer)
        body: bytes | aiohttp.FormData = offer.encode()
        if session is not None:
            body = aiohttp.FormData(default_to_multipart=True)
            body.add_field("sdp", offer)
            body.add_field("session", json.dumps(session))
        status, headers, answer = await post(f"{http}/v1/realtime/calls", body, key)
        assert status == 201, (status, answer)
        caller.location = headers["Location"]
        caller.call_id = caller.location.rpartition("/")[2]
        if network is not None:
            answer, relays = await relayed(answer, network)
        await caller.accept(answer)
        async with asyncio.timeout(20):
            await caller.opened.wait()
        yield caller
    finally:
        await caller.connection.close()
        if caller._listening is not None:
            await caller._listening
        for relay in relays:
            relay.close()  # type: ignore[attr-defined]
