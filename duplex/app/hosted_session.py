"""A call of an edge at the engine that hears and thinks for it. No sockets."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import assert_never

from duplex.dialogue.interfaces import Engine, OnlyListens
from duplex.dialogue.languages import HearsLanguages
from duplex.speech_api.hearing import lent_ear
from engine.errors import ContextExceeded, EngineError
from engine.remote_engine import wire
from engine.remote_engine.sounds import KeptSounds
from engine.types import Piece
from engine.uncancelled import uncancelled

logger = logging.getLogger(__name__)

MAX_REQUESTS = 32  # at a time, of one call; the dialogue has one of each kind
Send = Callable[[bytes], Awaitable[None]]


class _SpeechClock:
    """How long the speech that an edge has will still sound, as it told last."""

    def __init__(self, now: Callable[[], float], ahead_s: float) -> None:
        self._now = now
        self._until = now() + ahead_s

    def tell(self, ahead_s: float) -> None:
        """The edge has counted again."""
        if math.isfinite(ahead_s):
            self._until = self._now() + ahead_s

    def __call__(self) -> float:
        return max(0.0, self._until - self._now())


class _Demand:
    """How many more pieces of an answer may be made, and how far speech is ahead."""

    def __init__(self, ahead_s: float) -> None:
        self.pieces = asyncio.Semaphore(wire.WINDOW)
        self.ahead = _SpeechClock(asyncio.get_running_loop().time, ahead_s)


class HostedSession:
    """Obeys the frames of one edge's call, in their order; answers go to ``send``."""

    def __init__(self, engine: Engine, sounds: KeptSounds, send: Send) -> None:
        self._engine = engine
        self._session = engine.open()
        self._sounds = sounds
        self._send = send
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by request
        self._demands: dict[int, _Demand] = {}  # likewise, of answers
        self._stopping: set[asyncio.Task[None]] = set()  # cancelled, and not done yet

    @property
    def work(self) -> list[asyncio.Task[None]]:
        """What is being made, and somebody waits for."""
        return list(self._tasks.values())

    async def receive(self, data: bytes) -> None:
        """Obey one frame.

        Raises:
            ValueError: it is none, or asks too much.
        """
        frame = wire.from_edge(data)
        if isinstance(frame, wire.Asking):
            await self._begin(frame)
        elif isinstance(frame, wire.More | wire.Ahead | wire.Cancel):
            self._steer(frame)
        else:
            self._hear(frame)

    def _hear(
        self, frame: wire.BeginTurn | wire.Audio | wire.HearIn | wire.OnlyListen | wire.Forget
    ) -> None:
        session = self._session
        match frame:
            case wire.BeginTurn():
                session.begin_turn()
            case wire.Audio(pcm):
                session.append_audio(wire.samples_of(pcm))
            case wire.HearIn(language):
                if isinstance(session, HearsLanguages):
                    session.hear_in(language)
            case wire.OnlyListen():
                if isinstance(session, OnlyListens):
                    session.only_listen()
            case wire.Forget(sounds):
                self._sounds.forget(sounds)
            case _:
                assert_never(frame)

    def _steer(self, frame: wire.More | wire.Ahead | wire.Cancel) -> None:
        demand = self._demands.get(frame.request)  # none of an answer that is over
        match frame:
            case wire.Cancel(request):
                self._cancel(request)
            case wire.Ahead(_, seconds) if demand is not None:
                demand.ahead.tell(seconds)
            case wire.More(_, pieces) if demand is not None:
                for _ in range(min(pieces, wire.WINDOW)):
                    demand.pieces.release()

    async def close(self) -> None:
        """Stop everything, and free what the call held."""
        for request in list(self._tasks):
            self._cancel(request)
        if self._stopping:
            await asyncio.wait(self._stopping)
        await uncancelled(self._session.close())

    async def _begin(self, frame: wire.Asking) -> None:
        if len(self._tasks) + len(self._stopping) >= MAX_REQUESTS or frame.request in self._tasks:
            raise ValueError("more requests than a call has")
        if isinstance(frame, wire.Respond):
            self._demands[frame.request] = _Demand(frame.ahead_s)
        before = self._stopping.copy()
        task = asyncio.create_task(self._run(frame, before))
        self._tasks[frame.request] = task
        task.add_done_callback(lambda done: self._ended(frame.request, done))
        await asyncio.sleep(0)  # it takes the audio as it is now

    def _ended(self, request: int, task: asyncio.Task[None]) -> None:
        self._stopping.discard(task)
        if self._tasks.get(request) is task:
            del self._tasks[request]
        self._demands.pop(request, None)

    def _cancel(self, request: int) -> None:
        task = self._tasks.pop(request, None)
        if task is not None:
            self._stopping.add(task)
            task.cancel()

    async def _run(self, frame: wire.Asking, before: set[asyncio.Task[None]]) -> None:
        request = frame.request
        try:
            await self._obey(frame, before)
            answer: wire.Frame = wire.Done(request)
        except EngineError as error:
            answer = wire.Failed(request, str(error), isinstance(error, ContextExceeded))
        except Exception:
            logger.exception("a request of a call failed")
            answer = wire.Failed(request, "the engine failed")
        await self._send(wire.encode(answer))

    async def _obey(self, frame: wire.Asking, before: set[asyncio.Task[None]]) -> None:
        session, sounds = self._session, self._sounds
        match frame:
            case wire.EndTurn(request):
                await self._send(wire.encode(sounds.words(request, await session.end_turn())))
            case wire.Hear(request, pcm, wish):
                async with lent_ear(self._engine) as ear:
                    passage = await ear.hear(wire.samples_of(pcm), wish)
                await self._send(wire.encode(wire.HeardPassage(request, passage)))
            case wire.Listen(request, history):
                async with aclosing(session.listen(sounds.history(history))) as transcripts:
                    async for transcript in transcripts:
                        await self._send(wire.encode(sounds.words(request, transcript)))
            case wire.Prefill(_, history):
                await _all_of(before)
                await session.prefill(sounds.history(history))
            case wire.Respond(request, history, options):
                await _all_of(before)
                demand = self._demands[request]
                asked = wire.generation_options(options, demand.ahead)
                async with aclosing(session.respond(sounds.history(history), asked)) as pieces:
                    await self._give(request, pieces, demand)
            case _:
                assert_never(frame)

    async def _give(
        self, request: int, pieces: AsyncGenerator[Piece, None], demand: _Demand
    ) -> None:
        """Send pieces as they are made, no more of them than were asked for."""
        while True:
            await demand.pieces.acquire()
            piece = await anext(pieces, None)
            if piece is None:
                return
            await self._send(wire.encode(wire.said(request, piece)))


async def _all_of(tasks: set[asyncio.Task[None]]) -> None:
    """An answer that was given up lets go of the brain before the next is begun."""
    if tasks:
        await asyncio.wait(tasks)
