"""An assistant's own functions: what the model is told of them, and what it gets from them."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from duplex.errors import ConfigError
from duplex.phone import functions as module
from duplex.phone.functions import Functions, load_functions
from duplex.phone.threads import MAX_THREADS

FILE = '''
import asyncio
from typing import Annotated, Literal
from msgspec import Meta

booked = []

def free_slots(day: Literal["monday", "tuesday"]) -> list[str]:
    """Tell which times are free on a day."""
    return ["ten", "eleven"]

Time = Annotated[str, Meta(description="such as ten")]

async def book(day: str, time: Time, people: int = 1) -> dict:
    """Book a table."""
    booked.append((day, time, people))
    return {"booked": len(booked), "people": people}

def fails() -> None:
    """Never works."""
    raise RuntimeError("secret")

async def hangs() -> None:
    """Never ends."""
    await asyncio.Event().wait()

FUNCTIONS = [free_slots, book, fails, hangs]
'''


@pytest.fixture
def functions(tmp_path: Path) -> Functions:
    path = tmp_path / "functions.py"
    path.write_text(FILE)
    return load_functions(path)


def test_the_model_is_told_names_purposes_and_parameters(functions: Functions) -> None:
    slots, book, *_ = functions.tools
    assert (slots.name, slots.description) == ("free_slots", "Tell which times are free on a day.")
    assert slots.parameters["properties"]["day"]["enum"] == ["monday", "tuesday"]
    assert slots.parameters["required"] == ["day"]
    assert book.parameters["properties"]["time"]["description"] == "such as ten"
    assert book.parameters["required"] == ["day", "time"]
    assert "free_slots" in functions
    assert "hang_up" not in functions


async def test_results_are_json(functions: Functions) -> None:
    assert json.loads(await functions.call("free_slots", '{"day": "monday"}')) == ["ten", "eleven"]
    told = json.loads(await functions.call("book", '{"day": "monday", "time": "ten"}'))
    assert told == {"booked": 1, "people": 1}


@pytest.mark.parametrize(
    "arguments", ['{"day": "sunday"}', "{}", '{"day": "monday", "more": 1}', "monday", "[]", ""]
)
async def test_wrong_arguments_are_told_to_the_model(functions: Functions, arguments: str) -> None:
    told = json.loads(await functions.call("free_slots", arguments))
    assert told["error"].startswith("wrong arguments")


async def test_a_function_that_fails_ends_no_call_and_tells_no_secret(functions: Functions) -> None:
    assert json.loads(await functions.call("fails", "{}")) == {"error": "it failed"}


async def test_a_function_that_hangs_is_given_up(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.01)
    assert json.loads(await functions.call("hangs", "{}")) == {"error": "it took too long"}


async def test_functions_that_never_return_starve_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "stuck.py"
    path.write_text(STUCK)
    functions = load_functions(path)

    async def stick(count: int) -> set[str]:
        with monkeypatch.context() as patch:
            patch.setattr(module, "LIMIT_S", 0.05)
            told = await asyncio.gather(*(functions.call("stuck", "{}") for _ in range(count)))
        return {json.loads(each)["error"] for each in told}

    try:
        assert await stick(MAX_THREADS - 1) == {"it took too long"}
        assert json.loads(await functions.call("quick", "{}")) == "Q"
        assert await stick(1) == {"it took too long"}
        assert json.loads(await functions.call("quick", "{}")) == {"error": "it failed"}  # full
        assert all(t.daemon for t in threading.enumerate() if t.name == "phone")
    finally:
        await functions.call("let_go", "{}")
    for thread in [each for each in threading.enumerate() if each.name == "phone"]:
        await asyncio.to_thread(thread.join)


STUCK = """
import threading
gone = threading.Event()

def stuck() -> None:
    'Never returns.'
    gone.wait()

def quick() -> str:
    'Returns.'
    return "Q"

async def let_go() -> None:
    'Ends all.'
    gone.set()

FUNCTIONS = [stuck, quick, let_go]
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "no list FUNCTIONS"),
        ("def f(a: int): pass\nFUNCTIONS = [f]", "no docstring"),
        ("def f(a):\n 'Do.'\nFUNCTIONS = [f]", "type of a is missing"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_files_that_cannot_be_used_say_why(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "functions.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_functions(path)
