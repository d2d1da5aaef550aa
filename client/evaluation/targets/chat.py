"""A chat endpoint that takes sound (``input_audio``), such as vLLM's of an audio model."""

import base64
import io
import time
import wave
from typing import Any

from client.evaluation.chat import ChatEndpoint, ChatFailed
from client.evaluation.items import RATE_HZ, Answer, Item, Samples
from client.evaluation.scorers import split_thought
from client.evaluation.targets.target import Rendered
from duplex.audio.formats import encode_pcm16


class ChatTarget:
    """Asks an endpoint: the instructions are the system message, the parts one user message."""

    def __init__(self, endpoint: ChatEndpoint) -> None:
        self._endpoint = endpoint

    async def ask(self, item: Item, sounds: Rendered) -> Answer:
        """See `Target`."""
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else _sound(sounds[index])
            for index, part in enumerate(item.parts)
        ]
        system = [{"role": "system", "content": item.instructions}] if item.instructions else []
        began_s = time.monotonic()
        try:
            found = await self._endpoint.complete([*system, {"role": "user", "content": content}])
        except ChatFailed as error:
            return Answer(error=str(error))
        thought, text = split_thought(found.text)
        return Answer(
            text=text,
            thought=found.thought.strip() or thought,
            done_ms=round(1000 * (time.monotonic() - began_s), 1),
            tokens=found.tokens,
            is_cut=found.is_cut,
        )


def _sound(samples: Samples) -> dict[str, Any]:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(encode_pcm16(samples))
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
