"""One call's engine session, whose engine is in another process and may be replaced by another.

The engine is a cache: the conversation comes whole from the dialogue, and the open turn's audio is
here. So whichever engine is connected next knows all that it needs.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.ear.passage import Passage, Wish
from engine.errors import EngineError
from engine.remote_engine import wire
from engine.remote_engine.line import Asked, Line, LineLost
from engine.remote_engine.sounds import KnownSounds, lines_of
from engine.types import GenerationOptions, Message, Piece, Transcript
from engine.uncancelled import uncancelled

_BATCH_SAMPLES = 1600  # sent together, unless something is asked
_ATTEMPTS = 2  # to hear: another engine takes over from one that is gone
_AHEAD_S = 0.1  # between reports of how far speech is ahead
_GONE = "The engine was lost while it answered. The next turn is answered by another."


class Home(Protocol):
    """What a session needs of its engine."""

    sounds: KnownSounds

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if that is not known."""

    async def connect(self) -> Line:
        """Connect to an engine that is there.

        Raises:
            EngineError: none is.
        """


class RemoteSession:
    """See `duplex.dialogue.interfaces.EngineSession`."""

    def __init__(self, home: Home, line: Line | None = None) -> None:
        """``line`` is a place that was kept for this call; without one, it connects when something
        is asked."""
        self._home = home
        self._line = line
        self._connecting = asyncio.Lock()
        self._is_closed = False
        self._language: str | None = None
        self._only_listens = False
        self._turn: list[bytes] = []  # of the open turn: what was sent, or would have been
        self._batch: list[NDArray[np.float32]] = []  # not sent yet
        self._batched = 0  # samples in it
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._home.languages

    def hear_in(self, language: str | None) -> None:
        """Hear the caller in ``language``; None: as the engine is configured."""
        self._language = language
        self._post(wire.HearIn(language))

    def only_listen(self) -> None:
        """See `duplex.dialogue.interfaces.OnlyListens`."""
        self._only_listens = True
        self._post(wire.OnlyListen())

    def begin_turn(self) -> None:
        """Forget the audio of the turn before."""
        self._turn.clear()
        self._batch.clear()
        self._batched = 0
        line = self._line
        if line is not None and line.is_leaving() and line.is_idle:
            self._leave(line)
        self._post(wire.BeginTurn())

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._batch.append(samples)
        self._batched += len(samples)
        if self._batched >= _BATCH_SAMPLES:
            self._flush()

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts of the open turn, whichever engine makes them."""
        lost = 0
        while True:
            asked, line = await self._ask(
                lambda number, engine: wire.Listen(number, lines_of(history, engine))
            )
            try:
                while (frame := await asked.get()) is not None:
                    if isinstance(frame, wire.Words):
                        yield self._transcript(frame, line)
                raise EngineError("the engine listens no more")
            except LineLost:
                lost += 1
                if lost >= _ATTEMPTS:
                    raise
            finally:
                asked.close()

    async def end_turn(self) -> Transcript:
        """The exact transcript of the open turn's audio so far; the turn may go on."""
        frame, line = await self._answer(lambda number, _: wire.EndTurn(number))
        if not isinstance(frame, wire.Words):
            raise EngineError("the engine gave no words")
        return self._transcript(frame, line)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Bring the engine's cache up to ``history``, if there is an engine."""
        asked, _ = await self._ask(
            lambda number, engine: wire.Prefill(number, lines_of(history, engine))
        )
        try:
            with contextlib.suppress(LineLost):  # with its cache
                await asked.get()
        finally:
            asked.close()

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message. An answer is never asked for again: what it was asked for may
        be what an engine died of."""
        wanted, ahead_s = wire.options_of(options), options.speech_ahead_s()
        asked, line = await self._ask(
            lambda number, engine: wire.Respond(number, lines_of(history, engine), wanted, ahead_s)
        )
        telling = None
        if options.thinking != "before":
            telling = asyncio.create_task(_tell_ahead(line, asked.number, options.speech_ahead_s))
        taken = 0
        try:
            while isinstance(frame := await asked.get(), wire.Said):
                yield wire.piece_of(frame)
                taken += 1
                if taken % (wire.WINDOW // 2) == 0:
                    line.post(wire.More(asked.number, wire.WINDOW // 2))
        except LineLost as error:
            raise EngineError(_GONE) from error
        finally:
            asked.close()
            if telling is not None:
                telling.cancel()

    async def hear(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        """The words of a passage of a recording; see `engine.ear.recordings`."""
        frame, _ = await self._answer(lambda number, _: wire.Hear(number, wire.pcm_of(pcm), wish))
        if not isinstance(frame, wire.HeardPassage):
            raise EngineError("the engine gave no passage")
        return frame.passage

    async def close(self) -> None:
        """Let the engine free all that the call held."""
        self._is_closed = True
        line, self._line = self._line, None
        self._turn.clear()
        if line is not None:
            await line.close()
        if self._leaving:
            await asyncio.wait(self._leaving)

    # The socket.

    def _post(self, frame: wire.Frame) -> None:
        if self._line is not None:
            self._line.post(frame)

    def _flush(self) -> None:
        """Send the audio that is waiting."""
        if not self._batch:
            return
        pcm = wire.pcm_of(np.concatenate(self._batch))
        self._batch.clear()
        self._batched = 0
        self._turn.append(pcm)
        self._post(wire.Audio(pcm))

    def _leave(self, line: Line) -> None:
        """Let go of an engine that is about to stop; another is asked next."""
        self._line = None
        task = asyncio.create_task(line.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _connected(self) -> Line:
        """The socket; a new one, which is told what the last one knew, if that is gone."""
        if self._is_closed:
            raise EngineError("the session is closed")
        async with self._connecting:
            line = self._line
            if line is not None and line.is_open:
                return line
            if line is not None:
                self._leave(line)
            line = await self._home.connect()
            if self._is_closed:
                await uncancelled(line.close())
                raise EngineError("the session is closed")
            if self._language is not None:
                line.post(wire.HearIn(self._language))
            if self._only_listens:
                line.post(wire.OnlyListen())
            line.post(wire.BeginTurn())
            if self._turn:
                line.post(wire.Audio(b"".join(self._turn)))
            self._line = line
            return line

    async def _ask(self, frame: Callable[[int, str], wire.Asking]) -> tuple[Asked, Line]:
        line = await self._connected()
        self._flush()
        if unused := self._home.sounds.unused(line.engine):
            line.post(wire.Forget(unused))
        return line.ask(lambda number: frame(number, line.engine)), line

    async def _answer(
        self, frame: Callable[[int, str], wire.Asking]
    ) -> tuple[wire.Words | wire.Said | wire.HeardPassage | None, Line]:
        """Ask for one answer, and ask another engine if one is lost meanwhile."""
        for attempt in range(_ATTEMPTS):
            asked, line = await self._ask(frame)
            try:
                return await asked.get(), line
            except LineLost:
                if attempt + 1 == _ATTEMPTS:
                    raise
            finally:
                asked.close()
        raise AssertionError("unreachable")

    def _transcript(self, frame: wire.Words, line: Line) -> Transcript:
        sound = self._home.sounds.named(line.engine, frame.sound)
        return Transcript(
            frame.text, frame.stable, frame.samples, sound, frame.is_unclear, frame.language
        )


async def _tell_ahead(line: Line, request: int, speech_ahead_s: Callable[[], float]) -> None:
    """Report how long speech will still sound, for a brain that thinks meanwhile."""
    while line.is_open:
        await asyncio.sleep(_AHEAD_S)
        line.post(wire.Ahead(request, speech_ahead_s()))
