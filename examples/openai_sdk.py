"""Ask a question aloud with the openai SDK, and keep the spoken answer.

    pip install "openai[realtime]>=3.0"
    python examples/openai_sdk.py question.wav answer.wav

``question.wav`` is 16 bit, mono, 24 kHz. Nothing here knows which server it talks to: only the
address differs from OpenAI's own.
"""

import argparse
import asyncio
import base64
import os
import wave
from pathlib import Path

from openai import AsyncOpenAI

RATE_HZ = 24_000
CHUNK_BYTES = RATE_HZ // 50 * 2  # 20 ms
SILENCE = bytes(CHUNK_BYTES)


async def ask(url: str, question: bytes, voice: str | None = None) -> tuple[str, str, bytes]:
    """Speak ``question`` (PCM16) into a call; returns its transcript, the answer's, its audio."""
    client = AsyncOpenAI(api_key=os.environ.get("DUPLEX_API_KEY", "none"), websocket_base_url=url)
    heard, answer, audio = "", "", bytearray()
    async with client.realtime.connect(model="any") as call:
        sound: dict = {"input": {"transcription": {"model": "whisper-1"}}}
        if voice is not None:
            sound["output"] = {"voice": voice}
        await call.session.update(session={"type": "realtime", "audio": sound})  # type: ignore[arg-type, misc]
        speaking = asyncio.create_task(speak(call, question))
        try:
            async for event in call:
                match event.type:
                    case "conversation.item.input_audio_transcription.completed":
                        heard = event.transcript
                    case "response.output_audio_transcript.delta":
                        answer += event.delta
                    case "response.output_audio.delta":
                        audio += base64.b64decode(event.delta)
                    case "response.done":
                        break
                    case "error":
                        raise SystemExit(f"the server reports: {event.error.message}")
        finally:
            speaking.cancel()
    return heard, answer, bytes(audio)


async def speak(call, question: bytes) -> None:
    """Send the question at the pace of speech, then silence, as a microphone does."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    position = 0
    while True:
        chunk = question[position : position + CHUNK_BYTES] or SILENCE
        position += CHUNK_BYTES
        await call.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
        due += 0.02
        await asyncio.sleep(due - loop.time())


def main() -> None:
    """Read, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", type=Path, help="WAV, 16 bit mono 24 kHz")
    parser.add_argument("answer", type=Path, help="where the answer goes")
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1")
    parser.add_argument("--voice", help="one that GET /v1/models lists")
    options = parser.parse_args()
    with wave.open(str(options.question)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE_HZ):
            parser.error(f"{options.question} is not 16 bit mono {RATE_HZ} Hz")
        question = file.readframes(file.getnframes())
    heard, answer, audio = asyncio.run(ask(options.url, question, options.voice))
    with wave.open(str(options.answer), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes(audio)
    print(f"heard:    {heard}")
    print(f"answered: {answer}")


if __name__ == "__main__":
    main()
