"""A pipecat pipeline whose model is this server: ask about the weather, it calls a function.

    pip install "pipecat-ai[openai]>=1.14"
    python examples/pipecat_pipeline.py question.wav answer.wav

``question.wav`` is 16 bit, mono, 24 kHz. In a bot of your own a transport stands where this feeds
the recording and where the recorder is; everything between stays as it is.
"""

import argparse
import asyncio
import os
import wave
from pathlib import Path

from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
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

RATE_HZ = 24_000
CHUNK_BYTES = RATE_HZ // 50 * 2


async def get_weather(params: FunctionCallParams, city: str) -> None:
    """Tell the weather in a city.

    Args:
        city: The city's name.
    """
    await params.result_callback({"city": city, "weather": "sunny", "degrees": 21})


class Recorder(FrameProcessor):
    """In the place of a loudspeaker: keeps what would sound."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.audio = "", bytearray()
        self.answered = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.words += frame.text
        elif isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
        elif isinstance(frame, LLMFullResponseEndFrame) and self.words:  # not after a call alone
            self.answered.set()
        await self.push_frame(frame, direction)

    async def answer(self) -> tuple[str, bytes]:
        """Wait for the next answer; returns its words and audio."""
        await self.answered.wait()
        taken = self.words.strip(), bytes(self.audio)
        self.words, self.audio = "", bytearray()
        self.answered.clear()
        return taken


def service(url: str) -> OpenAIRealtimeLLMService:
    """The server, as pipecat sees it."""
    sound = events.AudioInput(transcription=events.InputAudioTranscription(model="whisper-1"))
    return OpenAIRealtimeLLMService(
        api_key=os.environ.get("DUPLEX_API_KEY", "none"),
        base_url=url,
        settings=OpenAIRealtimeLLMService.Settings(
            system_instruction="You talk with a caller. Be brief.",
            session_properties=events.SessionProperties(
                audio=events.AudioConfiguration(input=sound)
            ),
        ),
    )


async def ask(url: str, question: bytes) -> tuple[str, bytes]:
    """Be greeted, speak ``question`` (PCM16); returns the answer's words and audio."""
    recorder = Recorder()
    worker = pipeline(url, before=[], after=[recorder])
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker))
        await worker.queue_frame(LLMRunFrame())
        await recorder.answer()
        speaking = tasks.create_task(speak(worker, question))
        answer = await recorder.answer()
        speaking.cancel()
        await worker.queue_frame(CancelFrame())
        await running
    return answer


async def speak(worker: PipelineWorker, question: bytes) -> None:
    """Feed the recording at the pace of speech, and silence behind it."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    position = 0
    while True:
        chunk = question[position : position + CHUNK_BYTES] or bytes(CHUNK_BYTES)
        position += CHUNK_BYTES
        await worker.queue_frame(InputAudioRawFrame(chunk, RATE_HZ, 1))
        due += 0.02
        await asyncio.sleep(due - loop.time())


def pipeline(url: str, before: list[FrameProcessor], after: list[FrameProcessor]) -> PipelineWorker:
    """Sound in, this server, sound out."""
    context = LLMContext(tools=[get_weather])
    pair = LLMContextAggregatorPair(context)
    stages = [*before, pair.user(), service(url), *after, pair.assistant()]
    return PipelineWorker(Pipeline(stages), cancel_on_idle_timeout=False, enable_rtvi=False)


async def run(worker: PipelineWorker) -> None:
    """Run until it is cancelled."""
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def main() -> None:
    """Read, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", type=Path, help="WAV, 16 bit mono 24 kHz")
    parser.add_argument("answer", type=Path, help="where the answer goes")
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/realtime")
    options = parser.parse_args()
    with wave.open(str(options.question)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE_HZ):
            parser.error(f"{options.question} is not 16 bit mono {RATE_HZ} Hz")
        question = file.readframes(file.getnframes())
    words, audio = asyncio.run(ask(options.url, question))
    with wave.open(str(options.answer), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes(audio)
    print(f"answered: {words}")


if __name__ == "__main__":
    main()
