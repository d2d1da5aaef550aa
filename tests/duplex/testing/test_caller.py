"""The test kit that is shipped: what it says of a call, and whose time passes."""

import asyncio
import time

import pytest

from duplex import Config, Finished
from duplex.config import TurnConfig
from duplex.testing import Caller, Script, in_virtual_time, virtual


class Thinker:
    """A brain that works in a thread."""

    context_tokens = 100

    def open(self):  # type: ignore[no-untyped-def]
        return self

    def close(self): ...  # type: ignore[no-untyped-def]

    async def prefill(self, messages, partial=None): ...  # type: ignore[no-untyped-def]

    async def generate(self, messages, options):  # type: ignore[no-untyped-def]
        yield await asyncio.to_thread(lambda: f"<think>hm</think>{messages[-1].text.upper()}")
        yield Finished("stop", 0, 0, 0)


@in_virtual_time
async def test_a_barge_in_cancels_the_response() -> None:
    async with Caller(Script(hears=["Hi"], says=["A long story. " * 20])) as caller:
        await caller.speak(1)
        await caller.pause(2)
        await caller.speak(1)
        assert caller.last_response.status == "cancelled"
        assert caller.last_response.reason == "turn_detected"
        assert caller.last_response.text.startswith("A long story.")
        assert len(caller.last_response.text) < 100
        assert caller.heard == [caller.last_response.text]
        assert caller.heard_by_brain == [[("system", "Be brief."), ("user", "Hi")]]


@in_virtual_time
async def test_a_brain_of_ones_own_answers_what_the_script_hears() -> None:
    async with Caller(Script(hears=["hi there"]), brain=Thinker()) as caller:
        await caller.speak(1)
        await caller.pause(3)
        assert caller.last_response.text == "HI THERE"
        assert caller.last_response.status == "completed"
        assert caller.heard_by_brain == [[("system", "Be brief."), ("user", "hi there")]]


@in_virtual_time
async def test_there_may_be_no_response_yet() -> None:
    async with Caller() as caller:
        assert caller.responses == []
        with pytest.raises(LookupError):
            caller.last_response  # noqa: B018


def test_an_hour_takes_no_time_and_a_thread_takes_none_of_the_clock() -> None:
    async def scenario() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        asleep = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(time.sleep, 0.05)
        worked_s = loop.time()
        await asleep
        return worked_s, loop.time()

    assert virtual(scenario()) == (0, 3600)


def test_a_deadlock_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="deadlock"):
        virtual(asyncio.Event().wait())


def test_a_decorated_test_keeps_its_name_and_its_arguments() -> None:
    @in_virtual_time
    async def test_something(value: int) -> int:
        await asyncio.sleep(value)
        return value

    assert test_something.__name__ == "test_something"
    assert test_something(7) == 7


@pytest.mark.parametrize("hangover_ms", [300, 900])
def test_the_turns_of_the_configuration_hold(hangover_ms: int) -> None:
    async def ended_after_s() -> float:
        config = Config(turn=TurnConfig(hangover_ms=hangover_ms, unfinished_ms=2000))
        async with Caller(Script(hears=["Good morning."]), config) as caller:
            await caller.speak(1)
            silent_s = caller.now_s
            await caller.pause(3)
            return caller.time_of("input_audio_buffer.committed") - silent_s

    assert virtual(ended_after_s()) == pytest.approx(hangover_ms / 1000, abs=0.1)
