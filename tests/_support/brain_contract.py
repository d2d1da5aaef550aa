"""What every brain with the default model does, whatever runs it."""

from collections.abc import Sequence
from contextlib import aclosing

from engine.brain.interface import Brain, BrainSession
from engine.brain.style import system_prompt
from engine.types import Finished, GenerationOptions, Message

SYSTEM = Message("system", system_prompt())
SHORT = GenerationOptions(max_tokens=60)


async def answer(
    session: BrainSession,
    messages: Sequence[Message],
    characters: int = 10_000,
    options: GenerationOptions = SHORT,
) -> tuple[str, Finished | None]:
    """The text of an answer, and its counts unless it is cut after ``characters``."""
    text = ""
    async with aclosing(session.generate(messages, options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Finished):
                return text, piece
            text += piece if isinstance(piece, str) else ""
            if len(text) >= characters:
                break
    return text, None


async def close(session: BrainSession) -> None:
    """Close it, whichever way it closes."""
    if (closing := session.close()) is not None:
        await closing


async def knows_and_follows(brain: Brain) -> None:
    """It knows something, and follows the conversation; what went ahead is in the cache."""
    session = brain.open()
    talk = [SYSTEM, Message("user", "What is the capital of France?")]
    said, _ = await answer(session, talk)
    assert "Paris" in said
    talk += [Message("assistant", said), Message("user", "And of Italy?")]
    await session.prefill(talk[:-1], "And of It")
    said, end = await answer(session, talk)
    assert "Rome" in said
    assert end is not None
    assert end.cached_tokens >= end.input_tokens - 10
    await close(session)


async def forgets_what_was_not_heard(brain: Brain) -> None:
    """After barge-in it says what a call would hear in which the rest was never said."""
    used, fresh = brain.open(), brain.open()
    talk = [SYSTEM, Message("user", "Tell me about the moon.")]
    said, _ = await answer(used, talk, characters=40)
    talk += [Message("assistant", said[:20]), Message("user", "How far away is it?")]
    await used.prefill(talk[:-1], "How far away was")
    await used.prefill(talk)
    assert (await answer(used, talk))[0] == (await answer(fresh, talk))[0]
    await close(used)
    await close(fresh)


async def speaks_other_scripts(brain: Brain) -> None:
    """Characters of several tokens come whole."""
    session = brain.open()
    said, _ = await answer(session, [SYSTEM, Message("user", "你好！请用中文回答。")])
    assert any("\u4e00" <= letter <= "\u9fff" for letter in said)
    assert "\ufffd" not in said
    await close(session)
