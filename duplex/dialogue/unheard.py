"""What the caller did not hear of the answer they last interrupted, while "go on" can mean it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from duplex.dialogue.reply_parts import UnheardRest
from duplex.dialogue.speech_pipeline import SpeechPipeline
from duplex.protocol.response_plan import ResponsePlan

_KEPT_S = 30.0  # later, nobody means it with "go on"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The rest of an answer by ``plan``."""

    rest: UnheardRest
    plan: ResponsePlan


class Unheard:
    """One call's."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._spawn = spawn
        self._kept: _Kept | None = None

    def keep(self, reply: SpeechPipeline, plan: ResponsePlan, heard_samples: int) -> None:
        """A reply is given up of which so much was heard. That of an aside does not take the place
        of what is kept."""
        if self.is_aside(reply):
            return
        self._kept = None
        if (rest := reply.rest(heard_samples)) is not None:
            self._kept = _Kept(rest, plan)
            self._spawn(self._forget(self._kept))

    def is_aside(self, reply: SpeechPipeline) -> bool:
        """Whether a reply is short, and said after one that was cut."""
        return self._kept is not None and reply.is_short

    def rest_for(self, plan: ResponsePlan) -> UnheardRest | None:
        """What is kept, if it can be told by that plan."""
        kept = self._kept
        return kept.rest if kept is not None and kept.plan.sounds_like(plan) else None

    def drop(self) -> None:
        """Forget it: "go on" is about what comes next."""
        self._kept = None

    async def _forget(self, kept: _Kept) -> None:
        await asyncio.sleep(_KEPT_S)
        if self._kept is kept:
            self._kept = None
