"""Pipecat's OpenAIRealtimeLLMService in a pipeline with its own context aggregators."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner
from scenario import (
    ANSWER,
    GREETING,
    KEY,
    PLAYED_S,
    QUESTION,
    RATE_HZ,
    WEATHER,
    check,
    check_cut,
    pcm,
    run,
    speech,
)

TRANSCRIBED = events.InputAudioTranscription(model="whisper-1")


class Speaker(FrameProcessor):
    """Where an output transport would be: keeps what would be played."""

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.audio = b""
        self.answers = 0
        self.changed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.words += frame.text
        elif isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.answers += 1
        self.changed.set()
        await self.push_frame(frame, direction)


@dataclass
class Bot:
    llm: OpenAIRealtimeLLMService
    worker: PipelineWorker
    speaker: Speaker
    context: LLMContext
    items: list[str] = field(default_factory=list)  # ids, as they were added
    failed: list[str] = field(default_factory=list)

    async def say(self) -> None:
        async for chunk in speech():
            await self.worker.queue_frame(InputAudioRawFrame(chunk, RATE_HZ, 1))

    async def until_said(self, words: str) -> None:
        while not self.speaker.words.strip().endswith(words):
            await self.changed()

    async def changed(self) -> None:
        check(not self.failed, self.failed)
        self.speaker.changed.clear()
        await self.speaker.changed.wait()


@contextlib.asynccontextmanager
async def bot(
    url: str, audio_in: events.AudioInput, *, aggregated: bool = True, tools: Sequence[Any] = ()
) -> AsyncIterator[Bot]:
    """A running pipeline. Without the aggregators, turn frames go straight to the service."""
    llm = OpenAIRealtimeLLMService(
        api_key=KEY,
        base_url=url,
        settings=OpenAIRealtimeLLMService.Settings(
            system_instruction="Greet the caller.",
            session_properties=events.SessionProperties(
                audio=events.AudioConfiguration(input=audio_in)
            ),
        ),
    )
    speaker = Speaker()
    context = LLMContext(tools=list(tools)) if tools else LLMContext()
    pair = LLMContextAggregatorPair(context)
    stages = [pair.user(), llm, speaker, pair.assistant()] if aggregated else [llm, speaker]
    worker = PipelineWorker(Pipeline(stages), cancel_on_idle_timeout=False, enable_rtvi=False)
    it = Bot(llm, worker, speaker, context)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    @worker.event_handler("on_pipeline_error")
    async def on_error(worker: PipelineWorker, frame: Frame) -> None:
        it.failed.append(str(frame))
        speaker.changed.set()

    @llm.event_handler("on_conversation_item_created")
    async def on_item(service: object, item_id: str, item: object) -> None:
        it.items.append(item_id)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        await started.wait()
        yield it
        check(not it.failed, it.failed)
    finally:
        await worker.queue_frame(CancelFrame())
        await running


async def greeting(url: str) -> None:
    async with bot(url, events.AudioInput()) as it:
        await it.worker.queue_frame(LLMRunFrame())
        await it.until_said(GREETING)
        check(len(it.speaker.audio) > RATE_HZ, len(it.speaker.audio))


async def spoken_turn(url: str) -> None:
    async with bot(url, events.AudioInput(transcription=TRANSCRIBED)) as it:
        await it.worker.queue_frame(LLMRunFrame())
        await it.until_said(GREETING)
        await it.say()
        await it.until_said(ANSWER)
        while it.speaker.answers < 2:
            await it.changed()
        said = [m.get("content") for m in it.context.get_messages() if m["role"] == "user"]
        check(said == [QUESTION], it.context.get_messages())


async def barge_in(url: str) -> None:
    async with bot(url, events.AudioInput(transcription=TRANSCRIBED)) as it:
        await it.worker.queue_frame(LLMRunFrame())
        await it.until_said(GREETING)
        await it.say()
        while "sentence" not in it.speaker.words:
            await it.changed()
        await asyncio.sleep(PLAYED_S)
        story = it.items[-1]
        await it.say()
        await it.until_said(ANSWER)
        item = await it.llm.retrieve_conversation_item(story)
        check(item.status == "incomplete", item)
        check_cut(item.content[0].transcript)


async def get_weather(params: FunctionCallParams, city: str) -> None:
    """How the weather is.

    Args:
        city: Where.
    """
    await params.result_callback({"sky": "sunny" if city == "Paris" else "unknown"})


async def tool_call(url: str) -> None:
    hears = events.AudioInput(transcription=TRANSCRIBED)
    async with bot(url, hears, tools=[get_weather]) as it:
        await it.worker.queue_frame(LLMRunFrame())
        await it.until_said(GREETING)
        await it.say()
        await it.until_said(WEATHER)
        calls = [m for m in it.context.get_messages() if m.get("tool_calls")]
        check(len(calls) == 1, it.context.get_messages())


async def manual_turn(url: str) -> None:
    async with bot(url, events.AudioInput(turn_detection=False), aggregated=False) as it:
        await it.worker.queue_frame(InterruptionFrame())
        await it.worker.queue_frame(UserStartedSpeakingFrame())
        await it.worker.queue_frame(InputAudioRawFrame(pcm(1.0), RATE_HZ, 1))
        await it.worker.queue_frame(UserStoppedSpeakingFrame())
        await it.until_said(ANSWER)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(
        run(
            f"pipecat-ai {version('pipecat-ai')}",
            {
                "greeting": ("talk", greeting),
                "spoken turn": ("talk", spoken_turn),
                "barge-in": ("story", barge_in),
                "tool call": ("weather", tool_call),
                "manual turn": ("talk", manual_turn),
            },
        )
    )
