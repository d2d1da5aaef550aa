"""The openai SDK as it comes from its package calls a function by way of the default model, sends
the result, and hears it."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from duplex.app.server import DialogueServer, address
from duplex.config import Config, LimitsConfig, ServerConfig
from duplex.dialogue.parts import Parts
from tests._support.servers import NO_KEYS

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(300)]
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
)
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city now.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
    },
}
TIMER: Any = {
    "type": "function",
    "name": "set_timer",
    "description": "Start a timer.",
    "parameters": {
        "type": "object",
        "properties": {"minutes": {"type": "integer", "minimum": 1}},
        "required": ["minutes"],
    },
}
QUESTION: Any = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "How is the weather in Paris, in celsius?"}],
}


async def done(connection: Any) -> Any:
    """The next response that is done."""
    while (event := await connection.recv()).type != "response.done":
        assert event.type != "error", event
    return event.response


async def test_a_result_is_heard(parts: Parts) -> None:
    server = DialogueServer(CONFIG, parts, keys=NO_KEYS)
    async with server.listen() as listening:
        base = address(listening).removesuffix("/realtime")
        client = AsyncOpenAI(
            api_key="unused", base_url=base.replace("ws", "http", 1), websocket_base_url=base
        )
        async with client, client.realtime.connect(model="any") as connection:
            session: Any = {
                "type": "realtime",
                "tools": [TIMER, WEATHER],
                "tool_choice": {"type": "function", "name": "get_weather"},
            }
            await connection.session.update(session=session)
            await connection.conversation.item.create(item=QUESTION)
            await connection.response.create()
            response = await done(connection)
            [call] = response.output
            assert (response.status, call.type, call.name) == (
                "completed",
                "function_call",
                "get_weather",
            )
            assert json.loads(call.arguments) == {"city": "Paris", "unit": "celsius"}
            output = {"temperature": 31, "unit": "celsius", "sky": "sunny"}
            await connection.conversation.item.create(
                item={
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": json.dumps(output),
                }
            )
            await connection.response.create()
            response = await done(connection)
            [spoken] = response.output
            assert (response.status, spoken.type) == ("completed", "message")
            assert "31" in spoken.content[0].transcript
