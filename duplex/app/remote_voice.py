"""The voice of an engine in another process, for the edge that uses it: ``voice.kind = "remote"``.

As every voice it blocks, and runs on the threads of `Parts.voice_steps`.
"""

import contextlib
import socket as sockets
import time
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from duplex.app import voice_wire as wire
from engine.errors import EngineError
from engine.remote_engine.engine import RemoteEngine
from engine.remote_engine.wire import VoiceAbout, encode
from tts.errors import VoiceError
from tts.types import AudioChunk, check_speed

_STEP_S = 0.05  # an iterator that waits for sound yields so often, so that it can be closed
_STALL_S = 10.0  # without sound of one that was asked for some
_WAITING = AudioChunk(np.zeros(0, np.float32), ())
_LOST = "The voice was lost while it spoke."


class RemoteVoice:
    """One voice of the engine's; see `tts.types.Voice`."""

    def __init__(self, engine: RemoteEngine, about: VoiceAbout) -> None:
        self.name = about.name
        self.sample_rate = about.sample_rate
        self.takes_codes = about.takes_codes
        self._engine = engine

    def open(self, speed: float = 1.0) -> "RemoteUtterance":
        """Begin an answer.

        Raises:
            ValueError: ``speed`` is outside 0.25 to 4.
        """
        check_speed(speed)
        return RemoteUtterance(self._engine, self.name, speed)


class RemoteUtterance:
    """One answer; see `tts.types.Utterance`. Its socket ends with it, whoever forgets it. Its
    chunks without samples are pauses in which it waits."""

    def __init__(self, engine: RemoteEngine, name: str, speed: float) -> None:
        self._engine = engine
        self._name = name
        self._speed = speed
        self._socket: ClientConnection | None = None  # set when there is something to say

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        """See `Utterance`.

        Raises:
            VoiceError: the voice failed, or its process is gone.
        """
        yield from self._asked(wire.Feed(text, tuple(codes)))

    def finish(self) -> Iterator[AudioChunk]:
        """See `Utterance`."""
        if self._socket is not None:
            yield from self._asked(wire.Finish())
            self._hang_up()

    def _asked(self, frame: wire.Feed | wire.Finish) -> Iterator[AudioChunk]:
        is_whole = False
        try:
            socket = self._connected()
            socket.send(encode(frame))
            heard_s = time.monotonic()
            while True:
                try:
                    data = socket.recv(_STEP_S)
                except TimeoutError:
                    if time.monotonic() - heard_s > _STALL_S:
                        raise VoiceError("The voice makes no sound.") from None
                    yield _WAITING
                    continue
                heard_s = time.monotonic()
                answer = wire.from_voice(data.encode() if isinstance(data, str) else data)
                if isinstance(answer, wire.Fed):
                    break
                if isinstance(answer, wire.Failed):
                    raise VoiceError(answer.message)
                socket.send(encode(wire.More()))
                yield answer.chunk()
                heard_s = time.monotonic()  # the consumer may take its time
            is_whole = True
        except (OSError, WebSocketException, ValueError) as error:
            raise VoiceError(_LOST) from error
        finally:
            if not is_whole:
                self._hang_up()

    def _connected(self) -> ClientConnection:
        if self._socket is None:
            try:
                opening = self._engine.open_voice(self._name, self._speed)
            except EngineError as error:
                raise VoiceError(str(error)) from error
            # It is a context that nobody leaves: it ends with the utterance, without a goodbye.
            self._socket = contextlib.ExitStack().enter_context(opening)
            weakref.finalize(self, _shut, self._socket.socket).atexit = False
        return self._socket

    def _hang_up(self) -> None:
        if self._socket is not None:
            _shut(self._socket.socket)


def _shut(socket: sockets.socket) -> None:
    """End a connection at once; the thread that reads it ends with it."""
    with contextlib.suppress(OSError):
        socket.shutdown(sockets.SHUT_RDWR)
