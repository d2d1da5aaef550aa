"""The appointment bot's own configuration and functions, on a phone line with a scripted model."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from duplex.config import load_config
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import CallArguments, CallEnded, CallStarted, Piece, Speech
from tests._support.phones import calling

EXAMPLE = Path(__file__).parents[2] / "examples" / "appointments.toml"


def function_call(name: str, arguments: str) -> Sequence[Piece]:
    return [CallStarted(name), CallArguments(arguments), CallEnded()]


def test_a_caller_books_an_appointment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    booking = '{"day": "Tuesday", "time": "10:00", "name": "Robert"}'
    says = (
        function_call("free_times", '{"day": "Tuesday"}'),
        (Speech("At ten?"),),
        function_call("book_appointment", booking),
        (Speech("It is booked."),),
        function_call("book_appointment", booking.replace("Robert", "Susan")),
        (Speech("That is taken."),),
    )

    async def scenario() -> None:
        async with calling(Script(says=says), load_config(EXAMPLE)) as phone:
            await phone.hear_out()  # the greeting
            for _ in range(3):
                await phone.speak(1)
                await phone.hear_out()
            outputs = [h[-1].results[-1].output for h in phone.engine.sessions[0].histories[1::2]]
            free, is_booked, is_taken = map(json.loads, outputs)
            assert free == "On Tuesday there is 9:00, 10:00, 11:00, 14:00, 15:00."
            assert is_booked == "It is booked: Robert, Tuesday at 10:00."
            assert is_taken.startswith("Tuesday at 10:00 is not free.")

    virtual(scenario())
    assert json.loads((tmp_path / "appointments.json").read_text())["Tuesday"] == {
        "10:00": "Robert"
    }
