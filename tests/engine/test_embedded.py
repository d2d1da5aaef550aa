"""Ear and brain joined: what is heard when, and what the brain is prefilled with."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest

from engine.embedded import EmbeddedEngine, EmbeddedSession
from engine.errors import EngineError
from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Thought

RATE = 16_000
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] * 20
HISTORY = [Message("system", "Be brief.")]


class CountingEar:
    """Hears one word in each second of audio, given as the word's number in its samples."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    def transcribe(self, pcm: np.ndarray) -> str:
        self.longest_s = max(self.longest_s, len(pcm) / RATE)
        numbers = dict.fromkeys(int(n) for n in pcm[pcm >= 1])
        return " ".join(WORDS[number - 1] for number in numbers)


class NotingBrain:
    """Answers as told; notes every prefill."""

    def __init__(self, *answer: str) -> None:
        self.answer = answer
        self.prefilled: list[tuple[int, str | None]] = []  # messages, partial
        self.closed = False

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        self.prefilled.append((len(messages), partial))

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        for text in self.answer:
            yield text
        yield Finished("stop", 3, 2, len(self.answer))

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def session_of(
    ear: CountingEar, brain: NotingBrain, *, incremental: bool = True
) -> AsyncIterator[EmbeddedSession]:
    class Shared:
        context_tokens = 100

        def open(self) -> NotingBrain:
            return brain

        def close(self) -> None:
            pass

    engine = EmbeddedEngine(ear, Shared(), incremental=incremental)  # type: ignore[arg-type]
    session = engine.open()
    try:
        yield session
    finally:
        await session.close()
        engine.close()


def seconds(first: int, count: int) -> np.ndarray:
    """``count`` seconds of audio in which word ``first`` is said first, with a pause after each."""
    audio = np.repeat(np.arange(first, first + count, dtype=np.float32), RATE)
    audio.reshape(-1, RATE)[:, RATE // 2 :] = 0
    return audio


async def test_the_exact_pass_hears_all_of_the_turn_and_nothing_of_the_one_before() -> None:
    async with session_of(CountingEar(), NotingBrain()) as session:
        session.begin_turn()
        session.append_audio(seconds(1, 2))
        assert (await session.end_turn()).text == "one two"
        session.append_audio(seconds(3, 1))
        transcript = await session.end_turn()
        assert (transcript.text, transcript.stable) == ("one two three", "one two three")
        assert transcript.samples == 3 * RATE
        session.begin_turn()
        session.append_audio(seconds(7, 1))
        assert (await session.end_turn()).text == "seven"


async def test_a_turn_without_audio_has_no_words() -> None:
    async with session_of(CountingEar(), NotingBrain()) as session:
        session.begin_turn()
        assert (await session.end_turn()).text == ""


async def test_stable_words_are_prefilled_while_the_caller_speaks() -> None:
    brain = NotingBrain()
    async with session_of(CountingEar(), brain) as session:
        session.begin_turn()
        async with aclosing(session.listen(HISTORY)) as transcripts:
            session.append_audio(seconds(1, 3))
            first = await anext(transcripts)
            assert (first.text, first.stable) == ("one two three", "")
            session.append_audio(seconds(4, 2))
            second = await anext(transcripts)
            assert second.text.startswith("one two three")
            session.append_audio(seconds(6, 2))
            await anext(transcripts)
        assert brain.prefilled[0] == (1, "")
        assert (1, second.stable) in brain.prefilled


async def test_a_long_turn_is_heard_whole_and_never_all_at_once_while_it_lasts() -> None:
    ear = CountingEar()
    async with session_of(ear, NotingBrain()) as session:
        session.begin_turn()
        async with aclosing(session.listen(HISTORY)) as transcripts:
            for second in range(1, 61, 4):
                session.append_audio(seconds(second, 4))
                await anext(transcripts)
        assert ear.longest_s <= 24
        assert (await session.end_turn()).text.split() == WORDS[:60]
        assert ear.longest_s <= 24


async def test_thoughts_are_told_apart_and_counts_come_last() -> None:
    brain = NotingBrain("<th", "ink>Hm", "m.</think>", "It is ", "ten.")
    async with session_of(CountingEar(), brain) as session:
        pieces = [piece async for piece in session.respond(HISTORY, GenerationOptions())]
        assert "".join(p.text for p in pieces if isinstance(p, Thought)) == "Hmm."
        assert "".join(p.text for p in pieces if isinstance(p, Speech)) == "It is ten."
        assert pieces[-1] == Finished("stop", 3, 2, 5)


async def test_nothing_is_prefilled_ahead_while_an_answer_is_made() -> None:
    brain = NotingBrain("It is ", "ten.")
    async with session_of(CountingEar(), brain) as session:
        async with aclosing(session.respond(HISTORY, GenerationOptions())) as pieces:
            await anext(pieces)
            await session.prefill(HISTORY)
            assert brain.prefilled == []
        await session.prefill(HISTORY)
        assert brain.prefilled == [(1, None)]


async def test_without_incremental_prefill_each_answer_begins_with_an_empty_cache() -> None:
    brain = NotingBrain("Ten.")
    async with session_of(CountingEar(), brain, incremental=False) as session:
        await session.prefill(HISTORY)
        assert brain.prefilled == []
        pieces: list[Piece] = [p async for p in session.respond(HISTORY, GenerationOptions())]
        assert isinstance(pieces[-1], Finished)
        assert brain.prefilled == [(0, None)]


async def test_an_ear_that_fails_is_told_to_who_asked() -> None:
    class Broken(CountingEar):
        def transcribe(self, pcm: np.ndarray) -> str:
            raise RuntimeError("out of memory")

    async with session_of(Broken(), NotingBrain()) as session:
        session.begin_turn()
        session.append_audio(seconds(1, 1))
        with pytest.raises(EngineError, match="the ear failed"):
            await session.end_turn()


async def test_cancelled_listening_leaves_the_turn_to_be_heard() -> None:
    async with session_of(CountingEar(), NotingBrain()) as session:
        session.begin_turn()
        listening = asyncio.ensure_future(anext(session.listen(HISTORY)))
        session.append_audio(seconds(1, 2))
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.wait([listening])
        assert (await session.end_turn()).text == "one two"


async def test_the_brain_is_told_how_a_turn_sounded_and_nobody_else_is() -> None:
    class Shared:
        context_tokens = 100

        def open(self) -> "ReadingBrain":
            return brain

        def close(self) -> None:
            pass

    class ReadingBrain(NotingBrain):
        read: list[str]

        async def generate(
            self, messages: Sequence[Message], options: GenerationOptions
        ) -> AsyncGenerator[str | Finished, None]:
            self.read = [message.text for message in messages]
            async for piece in super().generate(messages, options):
                yield piece

    class DeafEar:
        words = "hello"

        def transcribe(self, pcm: np.ndarray) -> str:
            return self.words

    brain, ear = ReadingBrain("Yes."), DeafEar()
    tone = np.sin(2 * np.pi * 150 * np.arange(2 * RATE) / RATE)
    swelling = (tone * np.geomspace(0.01, 0.3, len(tone))).astype(np.float32)
    engine = EmbeddedEngine(ear, Shared(), tells_manner=True)
    try:
        session = engine.open()
        session.begin_turn()
        session.append_audio(swelling)
        transcript = await session.end_turn()
        assert transcript.text == transcript.stable == "hello"
        history = [*HISTORY, Message("user", transcript.text, transcript.sound)]
        async with aclosing(session.respond(history, GenerationOptions())) as pieces:
            assert [piece async for piece in pieces if isinstance(piece, Speech)] == [
                Speech("Yes.")
            ]
        assert brain.read[1] == "hello\n(How this sounds: the voice gets louder.)"
        session.begin_turn()
        session.append_audio((tone * 0.1).astype(np.float32))
        assert (await session.end_turn()).sound is None  # nothing out of the ordinary
        ear.words = ""
        session.begin_turn()
        session.append_audio(swelling)
        assert (await session.end_turn()).sound is None  # a noise is no caller
    finally:
        engine.close()
