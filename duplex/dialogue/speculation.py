"""Work on the caller's turn as if it had ended at a pause."""

import asyncio
from dataclasses import dataclass, field

from duplex.dialogue.call import CallContext
from duplex.dialogue.reply import Reply
from duplex.metrics import TurnMarks
from engine.errors import EngineError
from engine.types import Transcript


@dataclass(slots=True)
class Speculation:
    """Work on the caller's turn as if it had ended at a pause: its words, and a reply to them.

    If the caller goes on, it is dropped. If the turn is committed, it becomes the work on that
    turn: ``item_id`` is set then.
    """

    marks: TurnMarks
    wants_reply: bool  # whether the words call for one; not if the client ends its turns itself
    speech_ms: int  # how long the turn was at the pause
    sounds_false: float | None  # how little it sounded like a barge-in; see `TurnDetector`
    transcript: Transcript | None = None  # set when the exact pass is done
    failure: str | None = None  # set when the ear could not do it
    resumes: bool = False  # set when the words show that a reply was not meant to be interrupted
    reply: Reply | None = None  # set when one was begun
    item_id: str | None = None  # set when the turn is committed
    task: asyncio.Task[None] = field(init=False)  # set when it is started

    @property
    def needs_reply(self) -> bool:
        """Whether there are words, a reply to them is due, and none was begun."""
        has_words = self.transcript is not None and bool(self.transcript.text)
        return self.wants_reply and has_words and self.reply is None

    async def hear(self, call: CallContext) -> Transcript:
        """Make the exact pass over the turn's audio, which is taken as it is now."""
        try:
            transcript = await call.engine.end_turn()
        except EngineError as error:
            self.failure = str(error)
            transcript = Transcript("", "", 0)
        self.transcript = transcript
        self.marks.reach("ear")
        return transcript
