"""Test a bot in virtual time, without models: a scripted ear, brain and voice, and a caller.

    from duplex.testing import Caller, Script, in_virtual_time

    @in_virtual_time
    async def test_barge_in():
        async with Caller(Script(hears=["Hi"], says=["A long story. " * 20])) as caller:
            await caller.speak(1)
            await caller.pause(2)
            await caller.speak(1)
            assert caller.last_response.status == "cancelled"

It needs no pytest. ``Caller(..., brain=MyBrain())`` tests a brain of your own.
"""

from duplex.testing.caller import Caller, CallerResponse
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession
from duplex.testing.steps import TimedSteps
from duplex.testing.turns import LoudnessVad, PatientJudge
from duplex.testing.virtual_time import VirtualTimeLoop, in_virtual_time, virtual
from duplex.testing.voice import ScriptedVoice

__all__ = [
    "Caller",
    "CallerResponse",
    "LoudnessVad",
    "PatientJudge",
    "Script",
    "ScriptedEngine",
    "ScriptedSession",
    "ScriptedVoice",
    "TimedSteps",
    "VirtualTimeLoop",
    "in_virtual_time",
    "virtual",
]
