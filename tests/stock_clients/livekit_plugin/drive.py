"""livekit's openai realtime plugin in an AgentSession, with a microphone and a loudspeaker of our
own in the place of a room."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai
from scenario import (
    ANSWER,
    GREETING,
    KEY,
    PLAYED_S,
    PRESENT,
    QUESTION,
    RATE_HZ,
    WEATHER,
    check,
    check_cut,
    pcm,
    run,
    speech,
)


class Microphone(AudioInput):
    def __init__(self) -> None:
        super().__init__(label="microphone")
        self.frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self.frames.get()

    def say(self, sound: bytes) -> None:
        self.frames.put_nowait(rtc.AudioFrame(sound, RATE_HZ, 1, len(sound) // 2))


class Loudspeaker(AudioOutput):
    """Plays nothing, in real time."""

    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=AudioOutputCapabilities(pause=False),
            sample_rate=RATE_HZ,
        )
        self.sounding = asyncio.Event()
        self.played_s = 0.0
        self._queued_s = 0.0
        self._began_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._queued_s:
            self._began_s = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._queued_s += frame.duration
        self.sounding.set()

    def flush(self) -> None:
        super().flush()
        if self._queued_s:
            left_s = self._began_s + self._queued_s - time.monotonic()
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(max(0, left_s), self._finish, False)

    def clear_buffer(self) -> None:
        if self._end is not None:
            self._end.cancel()
        if self._queued_s:
            self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        position_s = min(self._queued_s, time.monotonic() - self._began_s)
        self.played_s += position_s
        self._queued_s, self._end = 0.0, None
        self.sounding.clear()
        self.on_playback_finished(playback_position=position_s, interrupted=interrupted)


@dataclass
class Bot:
    session: AgentSession[None]
    microphone: Microphone
    loudspeaker: Loudspeaker
    failed: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def said(self, role: str) -> list[str]:
        return [
            (item.text_content or "").strip()
            for item in self.session.history.items
            if item.type == "message" and item.role == role
        ]

    async def say(self, pause: float = 0.8) -> None:
        async for chunk in speech(pause=pause):
            self.microphone.say(chunk)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            check(not self.failed, self.failed)
            self.changed.clear()
            await self.changed.wait()


@contextlib.asynccontextmanager
async def bot(url: str, *, manual: bool = False, tools: Any = ()) -> AsyncIterator[Bot]:
    """A running agent."""
    options: dict[str, Any] = {"turn_detection": None} if manual else {}
    model = openai.realtime.RealtimeModel(
        api_key=KEY, base_url=url.removesuffix("/realtime").replace("ws", "http", 1), **options
    )
    modes: dict[str, Any] = {"turn_handling": {"turn_detection": "manual"}} if manual else {}
    # The warm-up ignores whoever interrupts the first seconds: there is no echo to learn here.
    session: AgentSession[None] = AgentSession(llm=model, aec_warmup_duration=None, **modes)
    it = Bot(session, Microphone(), Loudspeaker())
    session.input.audio = it.microphone
    session.output.audio = it.loudspeaker

    def failed(event: Any) -> None:
        it.failed.append(str(event))
        it.changed.set()

    session.on("error", failed)
    session.on("conversation_item_added", lambda event: it.changed.set())
    await session.start(Agent(instructions="Greet the caller.", tools=list(tools)))
    try:
        yield it
        check(not it.failed, it.failed)
    finally:
        await session.aclose()
        await model.aclose()


async def greeting(url: str) -> None:
    async with bot(url) as it:
        await it.session.generate_reply(instructions="Greet the caller.")
        check(it.said("assistant") == [GREETING], it.said("assistant"))
        check(it.loudspeaker.played_s > 0.5, it.loudspeaker.played_s)


async def spoken_turn(url: str) -> None:
    async with bot(url) as it:
        await it.say()
        await it.until(lambda: bool(it.said("assistant")))
        check(it.said("assistant") == [ANSWER], it.said("assistant"))
        await it.until(lambda: bool(it.said("user")))
        check(it.said("user") == [QUESTION], it.said("user"))


async def barge_in(url: str) -> None:
    async with bot(url) as it:
        await it.say()
        await it.loudspeaker.sounding.wait()
        await asyncio.sleep(PLAYED_S)
        await it.say()
        await it.until(lambda: len(it.said("assistant")) == 2)
        story, answer = it.said("assistant")
        check(answer == ANSWER, answer)
        check_cut(story)


async def goes_on(url: str) -> None:
    async with bot(url) as it:
        await it.say(0.4)
        await it.loudspeaker.sounding.wait()
        await it.say()
        await it.until(lambda: it.said("user")[-1:] == [PRESENT])
        await it.until(lambda: it.said("assistant")[-1:] == [ANSWER])


@function_tool
async def get_weather(city: str) -> str:
    """How the weather is.

    Args:
        city: Where.
    """
    return "sunny" if city == "Paris" else "unknown"


async def tool_call(url: str) -> None:
    async with bot(url, tools=[get_weather]) as it:
        await it.say()
        await it.until(lambda: bool(it.said("assistant")))
        check(it.said("assistant") == [WEATHER], it.said("assistant"))
        kinds = [item.type for item in it.session.history.items]
        check({"function_call", "function_call_output"} < set(kinds), kinds)


async def manual_turn(url: str) -> None:
    async with bot(url, manual=True) as it:
        it.microphone.say(pcm(1.0))
        while not it.microphone.frames.empty():
            await asyncio.sleep(0.01)
        it.session.commit_user_turn()
        await it.until(lambda: bool(it.said("assistant")))
        check(it.said("assistant") == [ANSWER], it.said("assistant"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(
        run(
            f"livekit-plugins-openai {version('livekit-plugins-openai')}",
            {
                "greeting": ("talk", greeting),
                "spoken turn": ("talk", spoken_turn),
                "barge-in": ("story", barge_in),
                "turn that goes on": ("present", goes_on),
                "tool call": ("weather", tool_call),
                "manual turn": ("talk", manual_turn),
            },
        )
    )
