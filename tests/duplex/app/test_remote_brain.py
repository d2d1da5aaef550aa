"""A whole server with a brain behind an OpenAI-compatible address, which answers oddly."""

import json
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect

from duplex import Server
from duplex.config import BrainConfig, Config, LimitsConfig, ServerConfig
from duplex.testing import LoudnessVad, ScriptedVoice
from tests._support.endpoint import chunk, endpoint, events, hello, status
from tests._support.odd_answers import CHUNKS, ENDS, TOOLS, Kind
from tests._support.wire import say_something, send, until

pytestmark = pytest.mark.realtime

CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),
    brain=BrainConfig(kind="openai", model="a-model"),
)
MODELS = {"/v1/models": status(200, '{"data": [{"id": "a-model"}]}')}
TOOL = {"type": "function", "parameters": {"type": "object"}}
KINDS = [*CHUNKS.items(), *ENDS.items(), *TOOLS.items()]


class HelloEar:
    """Hears the same in everything."""

    def transcribe(self, pcm: object) -> str:
        return "Hello there."


def server_of(base_url: str) -> Server:
    config = replace(CONFIG, brain=replace(CONFIG.brain, base_url=base_url))
    return Server(config, ear=HelloEar(), voice=ScriptedVoice(), vad=LoudnessVad())


async def respond(connection: ClientConnection) -> dict[str, Any]:
    await send(connection, "response.create", response={"output_modalities": ["text"]})
    response: dict[str, Any] = (await until(connection, "response.done"))["response"]
    return response


def check(name: str, kind: Kind, response: dict[str, Any]) -> None:
    details = response["status_details"] or {}
    if kind.error:
        assert response["status"] == "failed", name
        assert details["error"]["message"], name
        return
    wanted = {"stop": "completed", "length": "incomplete", "content_filter": "incomplete"}
    assert response["status"] == wanted[kind.reason], name
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == [name for name, _ in kind.calls], name
    if kind.reason == "stop":
        made = [json.loads(call["arguments"]) for call in calls]
        assert made == [json.loads(arguments or "{}") for _, arguments in kind.calls], name
    said = [part["text"] for item in response["output"] for part in item.get("content", [])]
    assert "".join(said) == kind.text, name


async def test_odd_answers_end_no_call() -> None:
    replies = [kind.reply for _, kind in KINDS]
    async with (
        endpoint(*replies, events(*hello()), pages=MODELS) as served,
        server_of(served.base_url).listen() as running,
        connect(running.url) as connection,
    ):
        await until(connection, "session.created")
        tools = [{**TOOL, "name": name} for name in "fg"]
        await send(connection, "session.update", session={"type": "realtime", "tools": tools})
        for name, kind in KINDS:
            check(name, kind, await respond(connection))
        response = await say_something(connection)
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["transcript"] == "Hello you."


async def test_a_failed_answer_says_why_and_what_a_filter_stops_is_incomplete() -> None:
    reports = events(chunk({"content": "Well. "}), json.dumps({"error": {"message": "No memory."}}))
    filtered = events(*hello(finish="content_filter"))
    async with (
        endpoint(reports, filtered, pages=MODELS) as served,
        server_of(served.base_url).listen() as running,
        connect(running.url) as connection,
    ):
        failed = await say_something(connection)
        stopped = await respond(connection)
    assert failed["status"] == "failed"
    message = failed["status_details"]["error"]["message"]
    assert message == "the brain's endpoint reports an error: No memory."
    assert stopped["status"] == "incomplete"
    assert stopped["status_details"]["reason"] == "content_filter"


@pytest.mark.parametrize(
    ("base_url", "environment", "said"),
    [
        ("localhost:8000/v1", {}, 'write "http://localhost:8000/v1"'),
        ("http://example.org/v1", {"ALL_PROXY": "socks9://127.0.0.1:1"}, "ALL_PROXY"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    base_url: str, environment: dict[str, str], said: str
) -> None:
    command = [sys.executable, "-m", "duplex", "serve", "--port", "0"]
    for option in ("kind=openai", f"base_url={base_url}", "model=a-model"):
        command += ["--set", f"brain.{option}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("duplex: ")
    assert said in ran.stderr
