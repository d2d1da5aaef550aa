"""A thin asyncio client for any server that speaks the OpenAI Realtime API (GA shape)."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from duplex.audio.formats import encode_pcm16

SAMPLE_RATE_HZ = 24_000  # of audio/pcm in the GA API, both ways
CHUNK_MS = 20
CHUNK_SAMPLES = SAMPLE_RATE_HZ * CHUNK_MS // 1000
AudioFormat = Literal["pcm16", "ulaw", "alaw"]
Output = Literal["audio", "text"]  # "audio" comes with its transcript
FORMATS: dict[AudioFormat, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": SAMPLE_RATE_HZ},
    "ulaw": {"type": "audio/pcmu"},  # 8 kHz
    "alaw": {"type": "audio/pcma"},
}
MAX_MESSAGE_BYTES = 32 * 1024 * 1024  # a server may send a long answer's audio in one delta
REALTIME_PATH = "/v1/realtime"
BUSY_STATUSES = frozenset({429, 503})
BUSY_CLOSE_CODES = frozenset({1008, 1013})  # policy violation, try again later


class ClientError(Exception):
    """Something the user should read; the message stands for itself."""


class Unreachable(ClientError):
    """Nothing answers at the address, or what answers is no Realtime server."""


class Refused(ClientError):
    """The server is there and does not take this call: it is full, or the key is wrong."""


class ConnectionLost(ClientError):
    """The call ended before it was over."""


class ConnectionDropped(ConnectionLost):
    """The connection went without a word: a server may still hold the call."""


@dataclass(frozen=True, slots=True)
class Received:
    """A server event and when it came, on the running loop's monotonic clock."""

    at_s: float
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a call asks for; None leaves the server's own default.

    ``manual_turns``: the server is to judge no turns (``turn_detection`` null); the client
    commits them. ``duplex`` asks for this project's extras (stage marks; ``thoughts``; with
    ``resume``, a call that can be taken up when its connection drops). A foreign server must not
    be sent it: it would reject the whole update.
    """

    instructions: str | None = None
    voice: str | None = None
    turn_detection: Mapping[str, Any] | None = None
    transcription_model: str | None = "whisper-1"
    duplex: bool = False
    thoughts: bool = False
    manual_turns: bool = False
    resume: bool = False
    audio_format: AudioFormat = "pcm16"
    output: Output = "audio"

    def update(self) -> dict[str, Any]:
        """The ``session.update`` event, with the same audio format both ways."""
        audio_format = FORMATS[self.audio_format]
        audio_in: dict[str, Any] = {"format": audio_format}
        audio_out: dict[str, Any] = {"format": audio_format}
        session: dict[str, Any] = {
            "type": "realtime",
            "output_modalities": [self.output],
            "audio": {"input": audio_in, "output": audio_out},
        }
        if self.transcription_model is not None:
            audio_in["transcription"] = {"model": self.transcription_model}
        if self.turn_detection is not None:
            audio_in["turn_detection"] = dict(self.turn_detection)
        if self.manual_turns:
            audio_in["turn_detection"] = None
        if self.voice is not None:
            audio_out["voice"] = self.voice
        if self.instructions is not None:
            session["instructions"] = self.instructions
        if self.duplex:
            session["duplex"] = {"metrics": True, "thoughts": self.thoughts}
            if self.resume:
                session["duplex"]["resume"] = True
        return {"type": "session.update", "session": session}


def realtime_url(address: str, model: str | None = None) -> str:
    """Complete what a person types: ``host:port``, ``http://...`` or the full address.

    Raises:
        Unreachable: it is no address.
    """
    if "://" not in address:
        address = f"ws://{address}"
    wrong = f"{safe_url(address)} is not a WebSocket address such as ws://127.0.0.1:8765"
    try:
        parts = urlsplit(address)
    except ValueError as error:  # its words may hold the address
        raise Unreachable(wrong) from error
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise Unreachable(wrong)
    path = REALTIME_PATH if parts.path in ("", "/") else parts.path
    query = parts.query or (urlencode({"model": model}) if model else "")
    return urlunsplit((scheme, parts.netloc, path, query, ""))


def safe_url(url: str) -> str:
    """An address as it may be told: without user, password and query, where keys are. Takes what
    is no address too."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, mark, rest = bare.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


class RealtimeClient:
    """An open call. One coroutine may receive while others send."""

    def __init__(self, websocket: ClientConnection, session: dict[str, Any]) -> None:
        self._websocket = websocket
        self.session = session  # as session.created reported it

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one client event.

        Raises:
            ConnectionLost: the call is over.
        """
        await self._send_text(json.dumps(event))

    async def append(self, samples: NDArray[np.float32]) -> None:
        """Send 24 kHz mono samples in [-1, 1] to the input audio buffer.

        Raises:
            ConnectionLost: the call is over.
        """
        await self.append_coded(encode_pcm16(samples))

    async def append_coded(self, data: bytes) -> None:
        """Send audio that is in the session's format already.

        Raises:
            ConnectionLost: the call is over.
        """
        audio = base64.b64encode(data).decode("ascii")
        await self._send_text(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')

    async def receive(self) -> Received:
        """Wait for the next server event.

        Raises:
            ConnectionLost: the call is over, or what came is not an event.
        """
        try:
            message = await self._websocket.recv()
        except ConnectionClosed as error:
            raise _lost(error) from error
        return Received(asyncio.get_running_loop().time(), _decode(message))

    async def close(self) -> None:
        """Hang up. Harmless on a call that is over."""
        await self._websocket.close()

    async def _send_text(self, text: str) -> None:
        try:
            await self._websocket.send(text)
        except ConnectionClosed as error:
            raise _lost(error) from error


async def connect(
    url: str,
    *,
    key: str | None = None,
    timeout_s: float = 10.0,
    headers: Mapping[str, str] | None = None,
    ca: Path | None = None,
) -> RealtimeClient:
    """Open a call and wait for ``session.created``; compression is off, for its delay and cost.
    ``ca``, a PEM file, is whose certificates are trusted in place of the system's.

    A server is known to have taken the call only then: one that is full may say so in the
    handshake, in an ``error`` event, or by the close code.

    Raises:
        Unreachable: no Realtime server there.
        Refused: it does not take the call; the message has its words.
    """
    websocket = await _open(url, key, timeout_s, headers or {}, ca)
    try:
        async with asyncio.timeout(timeout_s):
            first = _decode(await websocket.recv())
    except ConnectionClosed as error:
        raise _refused_by_close(url, error) from error
    except TimeoutError as error:
        await websocket.close()
        told = f"{safe_url(url)} opened no session within {timeout_s:g} s"
        raise Unreachable(told) from error
    if first.get("type") == "session.created":
        session = first.get("session")
        return RealtimeClient(websocket, session if isinstance(session, dict) else {})
    await websocket.close()
    if first.get("type") == "error":
        raise Refused(error_text(first))
    began = f"{safe_url(url)} began with {first.get('type')!r}"
    raise Unreachable(f"{began} instead of session.created")


async def take_up(
    url: str,
    token: str,
    after: str,
    *,
    key: str | None = None,
    timeout_s: float = 10.0,
    ca: Path | None = None,
) -> RealtimeClient:
    """Go on with a call whose connection dropped, on a server of this project that has offered
    it (``duplex.resume``); the events that followed ``after`` come again.

    Raises:
        Unreachable: the server is not there, or not yet again.
        Refused: it does not take calls.
    """
    joint = "&" if urlsplit(url).query else "?"
    wanted = urlencode({"resume": token, "after": after})
    return RealtimeClient(await _open(f"{url}{joint}{wanted}", key, timeout_s, {}, ca), {})


async def _open(
    url: str, key: str | None, timeout_s: float, headers: Mapping[str, str], ca: Path | None
) -> ClientConnection:
    told = safe_url(url)
    trust = _trust(ca) if url.startswith("wss:") else None
    sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}
    try:
        return await open_websocket(
            url,
            additional_headers=sent,
            subprotocols=[Subprotocol("realtime")],
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=timeout_s,
            ssl=trust,
            proxy=None,  # calls are measured: always the direct way
        )
    except InvalidStatus as error:
        raise _refused_in_handshake(url, error) from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"the certificate of {told} is not trusted: {error.verify_message}. If the server is "
            "yours, name its certificate, or the authority that signed it, with --ca FILE"
        ) from error
    except ssl.SSLError as error:
        hint = "Is it ws:// in place of wss://?" if error.reason == "WRONG_VERSION_NUMBER" else ""
        raise Unreachable(f"no TLS with {told}: {error.reason}. {hint}".rstrip()) from error
    except (InvalidURI, ValueError) as error:  # their words may hold the address
        raise Unreachable(f"{told} is no address that can be called") from error
    except (InvalidHandshake, EOFError) as error:
        hint = "" if trust else ". Does it speak TLS, wss://?"
        raise Unreachable(f"{told} does not answer as a Realtime server: {error}{hint}") from error
    except TimeoutError as error:
        raise Unreachable(f"{told} did not answer within {timeout_s:g} s") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unreachable(f"no server at {told}: {reason}. Is `duplex serve` running?") from error


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise ClientError(f"--ca {ca}: {error.strerror or error}: it must be a PEM file") from error


def error_text(event: Mapping[str, Any]) -> str:
    """The words of an ``error`` event, with its code where it has one. Some servers send only
    words, or nothing."""
    error = event.get("error")
    if isinstance(error, str) and error:
        return error
    if not isinstance(error, Mapping):
        error = {}
    message = error.get("message") or "the server reported an error without a message"
    return f"{message} ({error['code']})" if error.get("code") else str(message)


def _decode(message: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(message)
    except ValueError as error:
        raise ConnectionLost(f"the server sent what is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise ConnectionLost("the server sent JSON that is not an event")
    return event


def _lost(error: ConnectionClosed) -> ConnectionLost:
    if error.rcvd is None:
        return ConnectionDropped("the connection was lost")
    return ConnectionLost(f"the server ended the call: {_close_words(error)}")


def _close_words(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "without a word"
    reason = error.rcvd.reason
    return f"{reason} (close code {error.rcvd.code})" if reason else f"close code {error.rcvd.code}"


def _refused_by_close(url: str, error: ConnectionClosed) -> ClientError:
    url = safe_url(url)
    if error.rcvd is not None and error.rcvd.code in BUSY_CLOSE_CODES:
        return Refused(f"{url} does not take the call: {_close_words(error)}")
    return Unreachable(f"{url} closed the call before it began: {_close_words(error)}")


def _body_words(body: str) -> str:
    """What a refusal says: the message of a JSON error, else the text as it is."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return error_text(answer) if isinstance(answer, dict) and answer.get("error") else body


def _refused_in_handshake(url: str, error: InvalidStatus) -> ClientError:
    status, url = error.response.status_code, safe_url(url)
    body = bytes(error.response.body or b"").decode("utf-8", "replace").strip()
    words = _body_words(body)[:300] or error.response.reason_phrase
    if status in BUSY_STATUSES:
        return Refused(f"{url} is full: {words} (HTTP {status})")
    if status in (401, 403):
        hint = ". A key is given with --key or in DUPLEX_API_KEY" if status == 401 else ""
        return Refused(f"{url} does not let you in: {words} (HTTP {status}){hint}")
    return Unreachable(f"{url} does not answer as a Realtime server: {words} (HTTP {status})")
