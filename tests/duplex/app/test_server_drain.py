"""The end of a server: answers are finished, callers are told. And what its logs hold."""

import asyncio
import json
import logging
import os
import signal
from typing import Literal

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from duplex import logs
from duplex.app.server import DialogueServer
from duplex.config import Config, ServerConfig
from duplex.logs import call_logger
from duplex.testing.engine import Script
from engine.types import Speech, Thought
from tests._support.servers import FAST, running_server, scripted_server
from tests._support.wire import close_code, say, say_something, until

pytestmark = pytest.mark.realtime


async def test_a_silent_call_is_told_at_once_and_no_new_one_is_taken() -> None:
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        async with connect(running.url) as connection:
            await until(connection, "session.created")
            await running.server.drain()
            assert (await until(connection, "error"))["error"]["code"] == "server_stopping"
            assert await close_code(connection) == 1012
        with pytest.raises(InvalidStatus) as refused:
            await connect(running.url)
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers


async def test_an_answer_is_finished_and_heard_before_the_call_ends() -> None:
    config = Config(server=ServerConfig(port=0, playout_lead_s=0.2))
    async with running_server(config) as running, connect(running.url) as connection:
        await say(connection)
        await until(connection, "response.output_audio.delta")
        draining = asyncio.create_task(running.server.drain())
        done = await until(connection, "response.done")
        assert done["response"]["status"] == "completed"
        assert (await until(connection, "error"))["error"]["code"] == "server_stopping"
        assert await close_code(connection) == 1012
        await draining


async def test_an_answer_without_end_is_waited_for_only_so_long() -> None:
    endless = Script(ear_s=0.001, piece_s=3600.0)
    config = Config(server=ServerConfig(port=0, drain_s=0.1))
    async with running_server(config, endless) as running:
        connection = await connect(running.url)
        await say(connection)
        await until(connection, "response.created")
        await running.server.drain()
    assert (await until(connection, "error"))["error"]["code"] == "server_stopping"
    assert await close_code(connection) == 1012


async def test_sigterm_drains() -> None:
    async with running_server(Config(server=ServerConfig(port=0))) as running:
        server: DialogueServer = running.server
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(server.run(ready.set_result))
        async with connect(await ready) as connection:
            await until(connection, "session.created")
            os.kill(os.getpid(), signal.SIGTERM)
            assert await close_code(connection) == 1012
        await serving


WORDS = ("Kumquats", "marmalade", "zeppelin")


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("style", ["text", "json"])
async def test_logs_hold_no_words(
    style: Literal["text", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(
        hears=(f"Do you like {WORDS[0]}?",),
        says=((Thought(f"They ask for {WORDS[1]}. "), Speech(f"No, a {WORDS[2]}. ")),),
        ear_s=FAST.ear_s,
        piece_s=FAST.piece_s,
    )
    logs.configure(style, verbose=True)
    async with scripted_server(script) as (url, _):
        client_logger = logging.getLogger("client")
        client_logger.setLevel(logging.CRITICAL)  # websockets would write frames at DEBUG
        async with connect(url, logger=client_logger) as connection:
            response = await say_something(connection)
            await connection.send('{"type":"zeppelin"}')
            await until(connection, "error")
    assert WORDS[2] in json.dumps(response)
    logged = capsys.readouterr().err
    assert "call-1 opened" in logged
    assert "unknown_event" in logged  # DEBUG is there too
    assert not any(word in logged for word in WORDS)
    if style == "json":
        assert "call-1" in {json.loads(line).get("call") for line in logged.splitlines()}


def test_a_line_of_json_has_the_call_and_the_traceback() -> None:
    formatter = logs.JsonFormatter()
    message, options = call_logger(logging.getLogger("x"), "call-7").process("opened\n", {})
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", **options["extra"]})
    line = formatter.format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["call"], read["level"], read["message"]) == ("call-7", "info", "call-7 opened\n")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "ZeroDivisionError" in json.loads(formatter.format(record))["traceback"]
