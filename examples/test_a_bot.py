"""Test a bot in virtual time: no models, no waiting, the same result everywhere.

cd examples && python -m pytest test_a_bot.py
"""

from own_brain import Parrot

from duplex.testing import Caller, Script, in_virtual_time


@in_virtual_time
async def test_it_repeats_the_caller():
    async with Caller(Script(hears=["Good morning."]), brain=Parrot()) as caller:
        await caller.speak(1)
        await caller.pause(10)
        assert caller.last_response.text == "You said: Good morning."


@in_virtual_time
async def test_it_stops_for_a_barge_in():
    async with Caller(Script(hears=["A long story. " * 20]), brain=Parrot()) as caller:
        await caller.speak(1)
        await caller.pause(2)
        await caller.speak(1)
        assert caller.last_response.status == "cancelled"
