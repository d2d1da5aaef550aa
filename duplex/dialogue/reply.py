"""One answer and its place in the protocol."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import assert_never

from duplex.dialogue.call import Call
from duplex.dialogue.interfaces import EngineSession
from duplex.dialogue.reply_parts import ReplyAudio, ReplyEvent, ReplyText, ReplyThought
from duplex.dialogue.speech_pipeline import Reply
from duplex.logs import call_logger
from duplex.metrics import TurnMarks
from duplex.protocol import server_events as wire
from duplex.protocol.response_stream import ResponseStream
from duplex.protocol.response_types import StatusDetails, Usage
from engine.types import CallArguments, CallEnded, CallStarted, Finished

logger = logging.getLogger(__name__)

RESUMES = "duplex_resumes"  # key of a response's metadata: the id of the one that it goes on with
_MAX_METADATA = 16  # pairs, by the protocol
_TOLD_BEFORE = Finished("stop", 0, 0, 0)


@dataclass(slots=True)
class Answer:
    """One reply, and the response that it is told as: a new one each time that it is resumed."""

    reply: Reply
    stream: ResponseStream
    turn_item_id: str | None  # the caller's turn it answers; set at the latest when released
    engine: EngineSession  # the call's, or out of band one of its own: a session answers one
    marks: TurnMarks  # of that turn, or of the one after which it was resumed
    done: asyncio.Event = field(default_factory=asyncio.Event)  # set with response.done
    gate_open: bool = True  # shut first of all when the answer is cut
    tells_rest: bool = False  # of one that was interrupted before
    is_resumed: bool = False
    calls: bool = False  # whether it has begun to call a function
    usage_told: bool = False
    task: asyncio.Task[None] = field(init=False)  # set by `Answers.begin`

    def send(self, call: Call, event: ReplyEvent) -> None:
        """Tell the client what comes next."""
        stream = self.stream
        match event:
            case ReplyAudio(samples, words):
                pcm = stream.plan.audio_format.codec.encode(samples)
                text = "".join(word.text for word in words)
                if pcm or text:
                    call.send_audio(stream.response_id, *stream.audio(pcm, text))
            case ReplyText(text):
                call.send(*stream.text(text))
            case ReplyThought(text):
                call.send(*stream.thought(text))
            case CallStarted(name):
                self.calls = True
                call.send(*stream.call(name))
            case CallArguments(text):
                call.send(*stream.arguments(text))
            case CallEnded():
                call.send(*stream.end_call())
            case _:
                assert_never(event)

    def finish(self, call: Call, ending: StatusDetails) -> None:
        """End the response on the wire, and tell its times to those who asked. What it cost is
        not known if it was stopped before the brain was done; it is told once."""
        usage = None
        if self.reply.finished is not None:
            usage = _usage(_TOLD_BEFORE if self.usage_told else self.reply.finished)
            self.usage_told = True
        call.send(*self.stream.finish(ending, usage))
        self.done.set()
        marks = self.marks.as_ms()
        if self.stream.plan.in_conversation:
            # What was made before says nothing of how long making takes.
            call.metrics.turn(ending.type, {} if self.is_resumed else marks, call.clock())
        if call.session_config.duplex.metrics:
            call.send(
                wire.TurnMetrics(
                    response_id=self.stream.response_id,
                    item_id=self.turn_item_id,
                    marks_ms=marks,
                )
            )
        call_logger(logger, call.call_id).info("response %s, ms %s", ending.type, marks)

    def open_next(self, call: Call, marks: TurnMarks, turn_item_id: str) -> None:
        """What follows is told as a response of its own, after the caller's turn
        ``turn_item_id``."""
        old = self.stream
        plan = replace(old.plan, metadata=_resuming(old.plan.metadata, old.response_id))
        self.stream = ResponseStream(plan, call.conversation, call.conversation_id, call.new_id)
        self.turn_item_id, self.marks, self.reply.marks = turn_item_id, marks, marks
        self.is_resumed = True
        self.done = asyncio.Event()


@dataclass(slots=True)
class Suspended:
    """An answer that the caller interrupted, until it is known whether they meant it."""

    answer: Answer
    at_sample: int  # of its item; what follows was not heard
    by_item_id: str  # the caller's turn that interrupted it


def _resuming(metadata: dict[str, str] | None, response_id: str) -> dict[str, str] | None:
    """The client's ``metadata``, which it gets back unchanged, and what is resumed, if that
    fits."""
    own = {key: value for key, value in (metadata or {}).items() if key != RESUMES}
    return {**own, RESUMES: response_id} if len(own) < _MAX_METADATA else metadata


def _usage(finished: Finished) -> Usage:
    return Usage.of_text(
        input_tokens=finished.input_tokens,
        cached_tokens=finished.cached_tokens,
        output_tokens=finished.output_tokens,
    )
