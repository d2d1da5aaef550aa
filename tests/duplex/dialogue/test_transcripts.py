"""The words of responses as clients get them, in both shapes, whenever callers speak."""

import random
from collections import defaultdict
from typing import Any

import pytest

from duplex.protocol.beta import to_beta
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import Speech


async def conversation(seed: int) -> list[dict[str, Any]]:
    """What a client of the beta shape gets while a caller speaks, pauses and interrupts."""
    chance = random.Random(seed)
    answers = [
        tuple(Speech(f"Word{n} and more. ") for n in range(chance.randint(1, 8))) for _ in range(6)
    ]
    script = Script(
        hears=("What time is it?", "Tell me more."),
        says=answers,
        ear_s=chance.choice([0.01, 0.1, 0.3]),
        piece_s=chance.choice([0.005, 0.05, 0.3]),
    )
    async with Caller(script) as caller:
        for _ in range(3):
            await caller.speak(chance.uniform(0.2, 1.2))
            await caller.pause(chance.uniform(0.1, 1.5))
        await caller.pause(15)
    return [beta for event in caller.events for beta in to_beta(event, "conv")]


@pytest.mark.parametrize("seed", range(8))
def test_the_deltas_of_every_response_are_its_transcript(seed: int) -> None:
    deltas: defaultdict[str, str] = defaultdict(str)
    has_audio, done = set(), {}
    for event in virtual(conversation(seed)):
        if event["type"] == "response.audio_transcript.delta":
            deltas[event["response_id"]] += event["delta"]
        elif event["type"] == "response.audio.delta":
            has_audio.add(event["response_id"])
        elif event["type"] == "response.done":
            done[event["response"]["id"]] = event["response"]
    assert done
    for name, response in done.items():
        parts = [part for item in response["output"] for part in item["content"]]
        assert "".join(part["transcript"] for part in parts) == deltas[name]
        # A response that is cut before the end of its first word has sound and no words.
        assert deltas[name] or name not in has_audio or response["status"] == "cancelled"
