"""What the drivers of stock clients share. Runs in each client's own environment, so it uses
nothing but Python itself."""

import array
import asyncio
import json
import math
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

RATE_HZ = 24_000
CHUNK_MS = 20
FEATURE_S = 120  # a feature that takes longer hangs

Feature = Callable[[str], Awaitable[None]]
URLS: dict[str, str] = json.loads(sys.argv[1])
"""Scenario -> address, as the server printed them."""
KEY = URLS.pop("key")

GREETING = "Hello there. How can I help you?"
QUESTION = "What time is it?"
PRESENT = "I want to buy a present for my brother."  # first heard as "... for you."
ANSWER = "It is ten. Time for tea."
WEATHER = "It is sunny in Paris."  # once the tool has said so
STORY = " ".join(f"This is sentence {n} of it." for n in range(12))  # its beginning
PLAYED_S = 1.5  # of the story, before it is interrupted
HEARD_MS = 600  # of it, as the client tells the server
HEARD = "This is sentence"  # at most


def pcm(seconds: float, level: float = 0.3) -> bytes:
    """A tone as PCM16, loud enough to be speech; ``level`` 0 is silence."""
    step = 2 * math.pi * 300 / RATE_HZ
    count = round(seconds * RATE_HZ)
    samples = array.array("h", (round(32767 * level * math.sin(step * n)) for n in range(count)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


async def speech(seconds: float = 0.8, pause: float = 0.8) -> AsyncIterator[bytes]:
    """A caller's turn in chunks of `CHUNK_MS`, as fast as a microphone gives them."""
    size = RATE_HZ * CHUNK_MS // 1000 * 2
    sound = pcm(seconds) + pcm(pause, 0)
    for start in range(0, len(sound), size):
        yield sound[start : start + size]
        await asyncio.sleep(CHUNK_MS / 1000)


def check(condition: bool, message: object) -> None:
    """Fail the feature with ``message`` unless ``condition``."""
    if not condition:
        raise AssertionError(message)


def check_cut(told: str | None, most: str = STORY) -> None:
    """Fail unless the story is kept as its first words, ``most`` at the most."""
    told = (told or "").strip()
    check(bool(told) and most.startswith(told), f"the story was kept as {told!r}")


async def _outcome(feature: Feature, url: str) -> str:
    try:
        async with asyncio.timeout(FEATURE_S):
            await feature(url)
    except TimeoutError:
        traceback.print_exc()
        return f"nothing for {FEATURE_S} s"
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return "ok"


async def run(client: str, features: Mapping[str, tuple[str, Feature]]) -> None:
    """Run all features at the same time and print one line of JSON, the last of the output.

    ``features``: name -> (scenario, coroutine function that is given the address).
    """
    tasks = {
        name: asyncio.create_task(_outcome(feature, URLS[scenario]))
        for name, (scenario, feature) in features.items()
    }
    results = {name: await task for name, task in tasks.items()}
    print(json.dumps({"client": client, "features": results}), flush=True)
