"""The microphone's thread never waits; what cannot be sent ends the call."""

import asyncio
import threading

import numpy as np
import pytest

from client.live.intake import MAX_CHUNKS, Intake, TooSlow
from duplex.testing.virtual_time import virtual


def test_chunks_come_in_order_from_another_thread():
    async def scenario():
        intake = Intake(asyncio.get_running_loop())
        sound = np.arange(480 * 50, dtype=np.float32)

        def microphone():
            for start in range(0, len(sound), 441):
                intake.put(sound[start : start + 441])

        thread = threading.Thread(target=microphone)
        thread.start()
        chunks = [await intake.get() for _ in range(50)]
        thread.join()
        np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), sound)

    asyncio.run(scenario())


def test_too_much_waits():
    async def scenario():
        intake = Intake(asyncio.get_running_loop())
        intake.put(np.zeros(480 * MAX_CHUNKS, np.float32))
        await intake.get()
        intake.put(np.zeros(480 * 2, np.float32))
        with pytest.raises(TooSlow, match="the connection is too slow: 5 s of speech"):
            await intake.get()

    virtual(scenario())


def test_after_the_call_the_microphone_may_still_speak():
    intake = None

    async def scenario():
        nonlocal intake
        intake = Intake(asyncio.get_running_loop())
        intake.close()

    virtual(scenario())
    intake.put(np.zeros(480, np.float32))
