"""A bot on the Realtime API in 25 lines: a pirate hears question.wav and answers into answer.wav.

pip install "openai[realtime]>=3.0"
python examples/realtime_bot.py question.wav answer.wav     # 16 bit, mono, 24 kHz
"""

import asyncio
import os
import sys
import wave
from base64 import b64decode, b64encode

from openai import AsyncOpenAI


async def main(question: str, answer: str, url: str = "ws://127.0.0.1:8765/v1") -> None:
    """Only the address differs from OpenAI's own."""
    client = AsyncOpenAI(api_key=os.environ.get("DUPLEX_API_KEY", "none"), websocket_base_url=url)
    async with client.realtime.connect(model="any") as call:
        with wave.open(question) as file:
            sound = b64encode(file.readframes(file.getnframes())).decode()
        content = [{"type": "input_audio", "audio": sound}]
        message = {"type": "message", "role": "user", "content": content}
        await call.conversation.item.create(item=message)  # type: ignore[arg-type]
        await call.response.create(response={"instructions": "You are a pirate. Be brief."})
        with wave.open(answer, "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", ""))
            async for event in call:
                if event.type == "response.output_audio.delta":
                    file.writeframes(b64decode(event.delta))
                elif event.type == "response.output_audio_transcript.done":
                    print(event.transcript)
                elif event.type == "response.done":
                    break


asyncio.run(main(*sys.argv[1:]))
