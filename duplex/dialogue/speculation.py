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
    """Work on the caller's turn as if it had ended at a pause: its words, and an answer."""

    marks: TurnMarks
    transcript: Transcript | None = None  # set when the exact pass is done
    failure: str | None = None  # set when the ear could not do it
    speech_ms: int = 0  # how long the turn was at the pause
    sounds_false: float | None = (
        None  # how little it sounded like an interruption; see TurnDetector
    )
    wants_answer: bool = True  # until the client is seen to end its turns itself
    resumes: bool = False  # set when the words show that an answer was not meant to be interrupted
    answer: Reply | None = None  # set when one was begun
    item_id: str | None = None  # set when the turn is committed
    task: asyncio.Task[None] = field(init=False)  # set when it is started

    @property
    def is_answerable(self) -> bool:
        """Whether there are words, and an answer to them is due."""
        return self.wants_answer and self.transcript is not None and bool(self.transcript.text)

    async def hear(self, call: CallContext) -> Transcript:
        """The exact pass over the turn's audio, which is taken as it is now."""
        try:
            transcript = await call.engine.end_turn()
        except EngineError as error:
            self.failure = str(error)
            transcript = Transcript("", "", 0)
        self.transcript = transcript
        self.marks.reach("ear")
        return transcript
