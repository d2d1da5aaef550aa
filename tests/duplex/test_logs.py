"""Log lines of a call carry its id, whatever their message."""

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from duplex.logs import CallLogger, JsonFormatter, call_logger
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import Speech
from tests._support.phones import bakery, calling, function_call

LOGGER = logging.getLogger("duplex.test_logs")


def written(log: logging.Logger | CallLogger, message: str, *args: object, **options: Any) -> Any:
    """The JSON object that one message becomes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    LOGGER.addHandler(handler)
    try:
        log.warning(message, *args, **options)
    finally:
        LOGGER.removeHandler(handler)
    return json.loads(stream.getvalue())


def test_a_message_about_a_call_carries_its_id() -> None:
    line = written(call_logger(LOGGER, "call-7"), "a %s was refused", "transfer")
    assert line["call"] == "call-7"
    assert line["message"] == "call-7 a transfer was refused"
    assert line["logger"] == LOGGER.name


def test_so_does_one_that_does_not_begin_with_it() -> None:
    record = logging.makeLogRecord({"msg": "refused, after call-6", "call": "call-7"})
    assert json.loads(JsonFormatter().format(record))["call"] == "call-7"


def test_a_message_that_only_names_a_call_is_not_about_it() -> None:
    assert "call" not in written(LOGGER, "call-7 is a name like any other")


def test_an_extra_of_the_callers_is_kept() -> None:
    record = logging.makeLogRecord({})
    _, options = call_logger(LOGGER, "call-7").process("x", {"extra": {"status": 4}})
    record.__dict__.update(options["extra"])
    assert (record.call, record.status) == ("call-7", 4)  # type: ignore[attr-defined]


def test_all_that_a_phone_call_logs_carries_its_id(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, logger="duplex")
    path = tmp_path / "functions.py"
    path.write_text("async def fail() -> None:\n 'Fail.'\n 1 / 0\nFUNCTIONS = [fail]\n")

    async def scenario() -> None:
        script = Script(says=(function_call("fail"), (Speech("It failed."),)))
        who = {"assistant": "nobody"}
        async with calling(script, bakery("", functions=str(path)), who) as phone:
            await phone.speak(1)
            await phone.hear_out()

    virtual(scenario())
    records = [record for record in caplog.records if record.name.startswith("duplex.")]
    messages = [record.getMessage() for record in records]
    for expected in ("opened from twilio", "default answers", "function fail failed", "ended:"):
        assert any(expected in message for message in messages), expected
    assert {getattr(record, "call", None) for record in records} == {"call-1"}
