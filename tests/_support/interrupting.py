"""Helpers for tests of callers who speak over a reply."""

import base64
from collections.abc import Sequence
from typing import Any

from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from engine.types import Speech

QUESTION = "What time is it?"
ANSWER = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 6))  # 1.5 s each
WHOLE = "".join(piece.text for piece in ANSWER)
LAST_S = len(WHOLE) * 0.06


def falsely(*more: str, says: Sequence[Sequence[Any]] = (ANSWER,)) -> Script:
    """The caller asks, and says "mm-hm" into the answer."""
    return Script((QUESTION, "Mm-hm.", *more), says)


def audio_of(caller: Caller, response: dict[str, Any]) -> bytes:
    """All audio that was sent of a response."""
    deltas = caller.all("response.output_audio.delta")
    mine = [event["delta"] for event in deltas if event["response_id"] == response["id"]]
    return b"".join(map(base64.b64decode, mine))


def words_of(response: dict[str, Any]) -> str:
    """The transcript of a response."""
    return "".join(
        part["transcript"] for item in response["output"] for part in item.get("content", ())
    )


def responses(caller: Caller) -> list[dict[str, Any]]:
    """The responses that are done, as they were sent."""
    return [event["response"] for event in caller.all("response.done")]


async def ask(caller: Caller, heard_s: float) -> None:
    """Take a turn, and hear so much of the answer."""
    await caller.speak(1.0)
    while not caller.all("response.output_audio.delta"):
        await caller.pause(0.02)
    await caller.pause(heard_s)


async def retrieve(caller: Caller, item_id: str) -> str:
    """The transcript of an item as the conversation holds it."""
    caller.send("conversation.item.retrieve", item_id=item_id)
    await caller.pause(0.02)
    item = caller.all("conversation.item.retrieved")[-1]["item"]
    text: str = item["content"][0]["transcript"]
    return text


def last(caller: Caller, kind: str) -> int:
    kinds = caller.kinds()
    return len(kinds) - 1 - kinds[::-1].index(kind)


async def interrupt(caller: Caller, script_words_s: float = 0.3) -> dict[str, Any]:
    """Hear some of the answer, say something over it; returns the response that was cut."""
    await ask(caller, 2.0)
    await caller.speak(script_words_s)
    await caller.pause(0.04)  # the words are not known yet
    cut: dict[str, Any] = responses(caller)[-1]
    assert cut["status_details"]["reason"] == "turn_detected"
    return cut


def created(caller: Caller) -> list[dict[str, Any]]:
    """The responses as they were sent when they began."""
    return [event["response"] for event in caller.all("response.created")]
