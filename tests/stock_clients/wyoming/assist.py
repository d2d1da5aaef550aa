"""What Home Assistant's Wyoming integration asks of a service: what it is, the words of a sound,
the sound of a text. Runs in the environment of the bridge; prints one line of JSON.

    python assist.py PORT question.wav
"""

import asyncio
import json
import sys
import wave

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
)

CHUNK_SAMPLES = 1024  # as Home Assistant's satellites send


async def until(client: AsyncTcpClient, kind: str) -> list[Event]:
    """All events up to the first of that kind."""
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type == "error":
            raise SystemExit(f"the bridge reports: {event.data}")
        if event.type == kind:
            return events
    raise SystemExit(f"the bridge has hung up; so far: {[e.type for e in events]}")


async def info(port: int) -> dict:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        told = Info.from_event((await until(client, "info"))[-1])
    return {
        "models": [model.name for program in told.asr for model in program.models],
        "voices": [voice.name for program in told.tts for voice in program.voices],
    }


async def hear(port: int, path: str) -> str:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        with wave.open(path) as file:
            form = {"rate": file.getframerate(), "width": file.getsampwidth(), "channels": 1}
            await client.write_event(Transcribe(language="en").event())
            await client.write_event(AudioStart(**form).event())
            while data := file.readframes(CHUNK_SAMPLES):
                await client.write_event(AudioChunk(audio=data, **form).event())
        await client.write_event(AudioStop().event())
        return Transcript.from_event((await until(client, "transcript"))[-1]).text


async def say(port: int, *texts: str) -> float:
    """Seconds of sound; several texts are sent as a model writes them."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        if len(texts) == 1:
            await client.write_event(Synthesize(text=texts[0]).event())
            events = await until(client, "audio-stop")
        else:
            await client.write_event(SynthesizeStart().event())
            for text in texts:
                await client.write_event(SynthesizeChunk(text=text).event())
            await client.write_event(SynthesizeStop().event())
            events = await until(client, SynthesizeStopped().event().type)
    chunks = [AudioChunk.from_event(event) for event in events if event.type == "audio-chunk"]
    return sum(len(chunk.audio) / (chunk.rate * chunk.width * chunk.channels) for chunk in chunks)


async def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2]
    told = {
        **await info(port),
        "heard": await hear(port, path),
        "said_s": await say(port, "The light in the kitchen is on."),
        "streamed_s": await say(port, "The light ", "is on. And the door ", "is shut."),
    }
    print(json.dumps(told), flush=True)


asyncio.run(main())
