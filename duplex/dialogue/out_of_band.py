"""Replies out of band: they are about no conversation, and go to the client alone."""

import asyncio
from collections.abc import Sequence

from duplex.dialogue.call import CallContext, stop_task
from duplex.dialogue.interfaces import EngineSession
from duplex.dialogue.recordings import Recordings
from duplex.dialogue.reply import Reply
from duplex.dialogue.reply_state import Phase, Stopped
from duplex.errors import ProtocolError
from duplex.metrics import TurnMarks
from duplex.protocol.codes import Code
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.response_stream import CLIENT_CANCELLED
from engine.types import Message

MAX_OUT_OF_BAND = 4  # at a time: each has an engine session of its own


class OutOfBand:
    """Makes the replies out of band of one call. They run alongside the conversation: nobody
    hears them, so speech does not interrupt them."""

    def __init__(self, call: CallContext, recordings: Recordings) -> None:
        self._call = call
        self._recordings = recordings
        self._due = 0  # replies that are not begun yet
        self._replies: dict[str, Reply] = {}  # by response id, until they are over

    @property
    def is_idle(self) -> bool:
        """Whether none is being made or due."""
        return not self._replies and self._due == 0

    def respond(self, plan: ResponsePlan, *, after: asyncio.Task[None] | None) -> None:
        """Begin a reply as soon as ``after`` is done: the work on the words that it answers.

        Raises:
            ProtocolError: too_many_active_responses.
        """
        if len(self._replies) + self._due >= MAX_OUT_OF_BAND:
            raise ProtocolError(
                f"{MAX_OUT_OF_BAND} responses out of band are active. Wait until one is finished.",
                code=Code.TOO_MANY_RESPONSES,
                param="response.conversation",
            )
        self._due += 1
        self._call.spawn(self._begin_after(after, plan))

    async def cancel(self, response_id: str) -> bool:
        """Stop the reply with that response, as the client wants; False if there is none."""
        reply = self._replies.get(response_id)
        if reply is None or reply.state.phase is not Phase.SPEAKING:
            return False
        reply.silence(Stopped(), CLIENT_CANCELLED)
        await stop_task(reply.task)
        return True

    async def _begin_after(self, turn: asyncio.Task[None] | None, plan: ResponsePlan) -> None:
        try:
            if turn is not None:
                await asyncio.wait([turn])
            plan = await self._recordings.prepare(plan)
        finally:
            self._due -= 1
        call = self._call
        engine, history = call.thinker.open(), call.history(plan)
        reply = Reply(call, plan, TurnMarks(call.clock, call.clock()), source=engine)
        self._replies[reply.response.response_id] = reply
        reply.task = call.spawn(self._run(reply, engine, history))
        reply.release()

    async def _run(self, reply: Reply, engine: EngineSession, history: Sequence[Message]) -> None:
        try:
            await reply.run(history)
        finally:
            self._replies.pop(reply.response.response_id)
            await engine.close()
