"""What every engine's session promises, whatever is behind it. See `duplex.dialogue.interfaces`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.dialogue.interfaces import Engine, EngineSession
from engine.errors import EngineError
from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Transcript
from tests._support.engines import RATE, LoudEar, all_of, echo_engine, remote_of

pytestmark = pytest.mark.realtime

HISTORY = [Message("system", "Be brief."), Message("user", "one two three four five")]
GREEDY = GenerationOptions(max_tokens=12, repetition_penalty=1.0)
Opened = Callable[[Path], AbstractAsyncContextManager[Engine]]


@asynccontextmanager
async def embedded(_: Path) -> AsyncIterator[Engine]:
    engine = echo_engine()
    yield engine
    engine.close()


@asynccontextmanager
async def native(folder: Path) -> AsyncIterator[Engine]:
    from engine.native.engine import NativeEngine
    from tests._support.native import load_tiny

    model = load_tiny(folder)
    assert model.tower is not None
    engine = NativeEngine(LoudEar(), model.tower, model.brain)
    yield engine
    engine.close()


def remote(behind: Opened) -> Opened:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Engine]:
        async with behind(folder) as engine, remote_of(engine) as far:
            yield far

    return opened


ENGINES = [
    pytest.param(embedded, id="embedded"),
    pytest.param(native, id="native", marks=pytest.mark.torch),
    pytest.param(remote(embedded), id="remote-embedded"),
    pytest.param(remote(native), id="remote-native", marks=pytest.mark.torch),
]


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with request.param(tmp_path) as engine:
        yield engine


@pytest.fixture
async def session(engine: Engine) -> AsyncIterator[EngineSession]:
    session = engine.open()
    yield session
    await session.close()


def said(*words: int) -> NDArray[np.float32]:
    """A second for each word, as `LoudEar` hears it."""
    return np.repeat(np.asarray(words, np.float32) / 100, RATE)


def spoken(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Speech))


async def heard(session: EngineSession, audio: NDArray[np.float32]) -> Transcript:
    session.begin_turn()
    session.append_audio(audio)
    return await session.end_turn()


async def test_a_turn_is_heard_as_a_whole_however_it_comes(session: EngineSession) -> None:
    audio = said(3, 1, 4)
    whole = await heard(session, audio)
    assert (whole.text, whole.stable, whole.samples) == ("w3 w1 w4", "w3 w1 w4", len(audio))
    session.begin_turn()
    for piece in np.split(audio, range(512, len(audio), 512)):
        session.append_audio(piece)
    assert (await session.end_turn()).text == "w3 w1 w4"


async def test_a_turn_may_go_on_and_the_next_begins_with_nothing(session: EngineSession) -> None:
    assert (await heard(session, said(1, 2))).text == "w1 w2"
    session.append_audio(said(3))
    assert (await session.end_turn()).text == "w1 w2 w3"
    assert (await heard(session, said(9))).text == "w9"


async def test_what_is_said_after_a_pause_is_not_in_its_words(session: EngineSession) -> None:
    session.begin_turn()
    session.append_audio(said(1))
    ending = asyncio.create_task(session.end_turn())
    await asyncio.sleep(0.05)
    session.append_audio(said(2))
    assert (await ending).text == "w1"
    assert (await session.end_turn()).text == "w1 w2"


async def test_listening_gives_words_until_it_is_closed(session: EngineSession) -> None:
    session.begin_turn()
    async with asyncio.timeout(20), aclosing(session.listen(HISTORY)) as transcripts:
        session.append_audio(said(5, 6, 7))
        assert (await anext(transcripts)).text == "w5 w6 w7"
        next_one = asyncio.ensure_future(anext(transcripts))
        await asyncio.sleep(0.1)
        assert not next_one.done()
        next_one.cancel()
        await asyncio.wait([next_one])
    assert (await session.end_turn()).text == "w5 w6 w7"


async def test_an_answer_ends_in_what_it_cost(session: EngineSession) -> None:
    pieces = await all_of(session.respond(HISTORY, GREEDY))
    assert [isinstance(piece, Finished) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].input_tokens > 0


async def test_the_conversation_alone_decides_on_an_answer(engine: Engine) -> None:
    fresh, used = engine.open(), engine.open()
    expected = spoken(await all_of(fresh.respond(HISTORY, GREEDY)))
    assert expected
    async with aclosing(used.respond([HISTORY[0], Message("user", "else")], GREEDY)) as pieces:
        await anext(pieces)  # given up in the middle
    await used.prefill(HISTORY)
    assert spoken(await all_of(used.respond(HISTORY, GREEDY))) == expected
    assert spoken(await all_of(used.respond(HISTORY, GREEDY))) == expected
    await asyncio.gather(fresh.close(), used.close())


async def test_a_cancelled_request_leaves_the_session_usable(session: EngineSession) -> None:
    session.begin_turn()
    session.append_audio(said(1, 2))
    for make in (
        lambda: session.end_turn(),
        lambda: session.prefill(HISTORY),
        lambda: all_of(session.respond(HISTORY, GREEDY)),
    ):
        task = asyncio.ensure_future(make())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert (await session.end_turn()).text == "w1 w2"
    assert isinstance((await all_of(session.respond(HISTORY, GREEDY)))[-1], Finished)


async def test_calls_know_nothing_of_each_other(engine: Engine) -> None:
    one, other = engine.open(), engine.open()
    one.begin_turn()
    one.append_audio(said(1))
    assert (await heard(other, said(2))).text == "w2"
    assert (await one.end_turn()).text == "w1"
    await other.close()
    assert (await heard(one, said(3))).text == "w3"
    await one.close()


async def test_what_one_session_heard_another_answers(engine: Engine) -> None:
    ear, brain = engine.open(), engine.open()
    transcript = await heard(ear, said(1, 2))
    message = Message("user", transcript.text, transcript.sound)
    expected = spoken(await all_of(ear.respond([HISTORY[0], message], GREEDY)))
    await ear.close()
    assert spoken(await all_of(brain.respond([HISTORY[0], message], GREEDY))) == expected
    await brain.close()


@pytest.mark.parametrize("engine", [ENGINES[0], ENGINES[2]], indirect=True)
async def test_a_brain_that_fails_says_so_and_answers_the_next(session: EngineSession) -> None:
    with pytest.raises(EngineError, match="told to fail"):
        await all_of(session.respond([Message("user", "please fail now")], GREEDY))
    pieces = await all_of(session.respond([Message("user", "go on")], GREEDY))
    assert spoken(pieces).split() == ["go", "on"]
