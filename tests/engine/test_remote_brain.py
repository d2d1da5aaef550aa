"""A brain that hears over HTTP, with an ear beside it, against a real server on this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.brain.chat_shape import PRESETS, ChatShape
from engine.brain.interface import BrainError
from engine.brain.openai_compatible import OpenAIBrain
from engine.remote_brain import RemoteBrainEngine, RemoteBrainSession
from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Thought, Transcript
from tests._support.endpoint import chunk, endpoint, status
from tests._support.hearing_endpoint import HearingEndpoint, hearing_endpoint, recordings, saying

pytestmark = pytest.mark.realtime

HISTORY = [Message("system", "Be brief.")]
THINKING = GenerationOptions(think_tokens=64)


class SecondsEar:
    """Hears a word in each second."""

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        return " ".join(f"word{n}" for n in range(len(pcm) // 16_000))


@asynccontextmanager
async def call(
    served: HearingEndpoint, shape: ChatShape, *, hears: bool = True, ahead: bool = False
) -> AsyncIterator[RemoteBrainSession]:
    brain = OpenAIBrain(served.served.base_url, "a-model", shape=shape, prefill_ahead=ahead)
    engine = RemoteBrainEngine(SecondsEar(), brain, hears=hears)
    session = engine.open()
    try:
        yield session
    finally:
        await session.close()
        engine.close()


def speech(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    random = np.random.default_rng(seed)
    return random.integers(-20_000, 20_000, round(seconds * 16_000)).astype(np.int16)


async def say(session: RemoteBrainSession, said: NDArray[np.int16]) -> None:
    for frame in np.split(said, range(512, len(said), 512)):
        session.append_audio(frame.astype(np.float32) / np.float32(32768))
        await asyncio.sleep(0)


async def answered(
    session: RemoteBrainSession,
    history: list[Message],
    options: GenerationOptions | None = None,
) -> list[Piece]:
    async with aclosing(session.respond(history, options or GenerationOptions())) as pieces:
        return [piece async for piece in pieces]


def words(pieces: list[Piece], kind: type[Speech] | type[Thought] = Speech) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, kind))


def turn(transcript: Transcript) -> Message:
    return Message("user", transcript.text, transcript.sound)


async def test_the_brain_hears_what_was_said_and_the_words_are_there_too() -> None:
    first, second = speech(2.5), speech(1.5, 1)
    async with (
        hearing_endpoint(saying("Hello.")) as served,
        call(served, ChatShape(order="sound_text")) as session,
    ):
        session.begin_turn()
        await say(session, first)
        heard = await session.end_turn()
        assert heard.text == "word0 word1"
        history = [*HISTORY, turn(heard)]
        assert words(await answered(session, history)) == "Hello."
        session.begin_turn()
        await say(session, second)
        history += [Message("assistant", "Hello."), turn(await session.end_turn())]
        await answered(session, history)
    system, before, said, last = served.asked[-1]["messages"]
    assert (system["content"], said["content"]) == ("Be brief.", "Hello.")
    np.testing.assert_array_equal(recordings(before)[0], first)
    np.testing.assert_array_equal(recordings(last)[0], second)
    assert last["content"][-1] == {"type": "text", "text": "word0"}


async def test_a_turn_that_goes_on_is_heard_as_a_whole() -> None:
    said = speech(3.0)
    async with (
        hearing_endpoint(saying("Yes.")) as served,
        call(served, ChatShape(piece_s=1.0)) as session,
    ):
        session.begin_turn()
        await say(session, said[:20_000])
        await session.end_turn()  # a pause
        await say(session, said[20_000:])
        await answered(session, [*HISTORY, turn(await session.end_turn())])
    parts = recordings(served.asked[-1]["messages"][-1])
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), said)


async def test_closed_pieces_go_ahead_one_request_at_a_time() -> None:
    said = speech(6.0)
    async with (
        hearing_endpoint(saying("Yes."), ahead_s=0.05) as served,
        call(served, ChatShape(piece_s=1.0), ahead=True) as session,
    ):
        session.begin_turn()
        listening = asyncio.create_task(_listen(session))
        for second in np.split(said, 6):
            await say(session, second)
            await asyncio.sleep(0.12)
        listening.cancel()
        await asyncio.wait({listening})
        await answered(session, [*HISTORY, turn(await session.end_turn())])
    assert served.most_in_flight == 1
    assert served.ahead[0]["messages"] == [{"role": "system", "content": "Be brief."}]
    counts = [len(recordings(request["messages"][-1])) for request in served.ahead]
    assert counts == sorted(counts)
    assert counts[-1] >= 4
    asked = served.asked[-1]["messages"][-1]["content"]
    assert asked[: counts[-1]] == served.ahead[-1]["messages"][-1]["content"]
    np.testing.assert_array_equal(np.concatenate(recordings({"content": asked})), said)


async def test_what_goes_ahead_is_given_up_when_the_turn_ends() -> None:
    async with (
        hearing_endpoint(saying("Yes."), ahead_s=30) as served,
        call(served, ChatShape(), ahead=True) as session,
    ):
        session.begin_turn()
        listening = asyncio.create_task(_listen(session))
        while not served.ahead:
            await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.wait({listening})
        await say(session, speech(1.0))
        await answered(session, [*HISTORY, turn(await session.end_turn())])
        while not served.cancelled:
            await asyncio.sleep(0.01)
    assert (len(served.ahead), served.cancelled, len(served.asked)) == (1, 1, 1)


async def test_stable_words_go_ahead_to_a_brain_that_reads() -> None:
    async with (
        hearing_endpoint(saying("Yes.")) as served,
        call(served, ChatShape(), hears=False, ahead=True) as session,
    ):
        session.begin_turn()
        listening = asyncio.create_task(_listen(session))
        for n in range(6):
            await say(session, speech(1.0, n))
            await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.wait({listening})
        heard = await session.end_turn()
        await answered(session, [*HISTORY, turn(heard)])
    assert heard.sound is None
    assert served.asked[-1]["messages"][-1]["content"] == heard.text
    assert len(served.ahead) > 1
    partial = served.ahead[-1]["messages"][-1]["content"]
    assert partial
    assert heard.text.startswith(partial)


async def test_nothing_goes_ahead_unless_it_is_wanted() -> None:
    async with (
        hearing_endpoint(saying("Yes.")) as served,
        call(served, ChatShape(piece_s=1.0)) as session,
    ):
        session.begin_turn()
        listening = asyncio.create_task(_listen(session))
        await say(session, speech(4.0))
        await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.wait({listening})
    assert not served.served.requests


async def test_an_endpoint_that_refuses_sound_says_so() -> None:
    refusal = status(400, '{"message": "At most 0 audio(s) may be provided", "object": "error"}')
    async with endpoint(refusal) as served:
        engine = RemoteBrainEngine(
            SecondsEar(), OpenAIBrain(served.base_url, "a-model"), hears=True
        )
        session = engine.open()
        session.begin_turn()
        await say(session, speech(1.0))
        heard = await session.end_turn()
        with pytest.raises(BrainError, match=r"At most 0 audio.*brain\.hears"):
            await answered(session, [*HISTORY, turn(heard)])
        with pytest.raises(BrainError) as words_only:
            await answered(session, [*HISTORY, Message("user", "Hi.")])
        assert "brain.hears" not in str(words_only.value)
        await session.close()
        engine.close()


@pytest.mark.parametrize(
    ("preset", "says", "thought", "said"),
    [
        # The reasoning parser is off: the beginning opened the thoughts.
        ("step-audio-r1", ["She asks ", "the time.\n</th", "ink>\nIt is ", "noon."],
         "She asks the time.\n", "\nIt is noon."),
        ("step-audio-r1", ["\n", "Hm.</think>Noon."], "Hm.", "Noon."),
        # A model that opens them all the same.
        ("step-audio-r1", ["<think>Hm.", "</think>Noon."], "Hm.", "Noon."),
        # One that only thinks is silent.
        ("step-audio-r1", ["I wonder. ", "Noon"], "I wonder. Noon", ""),
        # Without a beginning, tags tell.
        ("", ["<think>Hm.", "</think>Noon."], "Hm.", "Noon."),
    ],
)  # fmt: skip
async def test_thoughts_in_the_text_are_not_spoken(
    preset: str, says: list[str], thought: str, said: str
) -> None:
    async with hearing_endpoint(saying(*says)) as served, call(served, PRESETS[preset]) as session:
        pieces = await answered(session, [*HISTORY, Message("user", "Hi.")], THINKING)
    assert words(pieces, Thought).strip() == thought.strip()
    assert words(pieces) == said


async def test_with_a_reasoning_parser_the_text_is_speech_from_its_beginning() -> None:
    def says(_: dict[str, Any]) -> list[str]:
        return [
            chunk({"role": "assistant", "content": ""}),
            chunk({"my_thoughts": "She asks the time."}),
            chunk({"content": "It is noon."}),
            chunk({}, "stop"),
        ]

    shape = ChatShape(thinking="<think>\n", thoughts=("my_thoughts",))
    async with hearing_endpoint(says) as served, call(served, shape) as session:
        pieces = await answered(session, [*HISTORY, Message("user", "Hi.")], THINKING)
    assert words(pieces, Thought) == "She asks the time."
    assert words(pieces) == "It is noon."
    assert isinstance(pieces[-1], Finished)


async def test_a_model_that_need_not_think_speaks_at_once() -> None:
    async with (
        hearing_endpoint(saying("It is noon.")) as served,
        call(served, PRESETS["step-audio-r1"]) as session,
    ):
        pieces = await answered(session, [*HISTORY, Message("user", "Hi.")])
    assert words(pieces) == "It is noon."
    assert served.asked[0]["messages"][-1]["content"] == "<think>\n\n</think>\n"


async def _listen(session: RemoteBrainSession) -> None:
    async with aclosing(session.listen(HISTORY)) as transcripts:
        async for _ in transcripts:
            pass
