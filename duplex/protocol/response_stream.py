"""The server events of one response, in their order, whenever and however it ends."""

from enum import Enum, auto
from typing import TypedDict

from msgspec import UNSET
from msgspec.structs import replace

from duplex.errors import IllegalTransition, ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId
from duplex.protocol.items import FunctionCall, Item, Message, OutputAudio, OutputText, Status
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.response_types import (
    AudioPart,
    Response,
    ResponseAudio,
    ResponseAudioOutput,
    ResponseError,
    StatusDetails,
    TextPart,
    Usage,
)
from duplex.protocol.server_events import ServerEvent

COMPLETED = StatusDetails("completed")
TURN_DETECTED = StatusDetails("cancelled", reason="turn_detected")
CLIENT_CANCELLED = StatusDetails("cancelled", reason="client_cancelled")
MAX_OUTPUT_TOKENS = StatusDetails("incomplete", reason="max_output_tokens")
CONTENT_FILTER = StatusDetails("incomplete", reason="content_filter")


def failed(message: str, code: str = Code.SERVER_ERROR) -> StatusDetails:
    """Return the ending of a response that the server could not give."""
    return StatusDetails("failed", error=ResponseError("server_error", code, message))


class _Where(TypedDict):
    response_id: str
    item_id: str


class _WhereCall(_Where):
    call_id: str
    output_index: int


class _State(Enum):
    NEW = auto()  # nothing sent
    STARTED = auto()  # response.created sent; no item yet
    OPEN = auto()  # the message and its part are open
    CALLING = auto()  # a function call is open
    CALLED = auto()  # the last function call is whole; no words follow one
    FINISHED = auto()  # response.done sent


_TRANSITIONS = {
    (_State.NEW, "start"): _State.STARTED,
    (_State.STARTED, "thought"): _State.STARTED,
    (_State.STARTED, "words"): _State.OPEN,
    (_State.STARTED, "finish"): _State.FINISHED,
    (_State.OPEN, "thought"): _State.OPEN,
    (_State.OPEN, "words"): _State.OPEN,
    (_State.OPEN, "finish"): _State.FINISHED,
    (_State.STARTED, "call"): _State.CALLING,
    (_State.OPEN, "call"): _State.CALLING,
    (_State.CALLED, "call"): _State.CALLING,
    (_State.CALLING, "arguments"): _State.CALLING,
    (_State.CALLING, "end_call"): _State.CALLED,
    (_State.CALLING, "thought"): _State.CALLING,
    (_State.CALLED, "thought"): _State.CALLED,
    (_State.CALLING, "finish"): _State.FINISHED,
    (_State.CALLED, "finish"): _State.FINISHED,
}


class ResponseStream:
    """Turns the progress of one response into server events.

    `start`, then any number of `audio` (or `text`), then any number of function calls (`call`,
    `arguments`, `end_call`), with a `thought` anywhere, then `finish`, once, at any moment after
    `start`. An item joins the conversation with its first words, so a response that is stopped
    before them leaves no trace in the history; one that is out of band never does.

    Each method returns the events to send, in order.

    Raises:
        IllegalTransition: on any other order; nothing has changed.
        ValueError: `audio` in a text response or `text` in an audio response.
    """

    def __init__(
        self,
        plan: ResponsePlan,
        conversation: Conversation,
        conversation_id: str,
        new_id: NewId,
    ) -> None:
        self.plan = plan
        self.response_id = new_id("resp")
        self.item_id = new_id("item")
        self._new_id = new_id
        self._conversation = conversation
        self._conversation_id = conversation_id
        self._state = _State.NEW
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._previous_item_id: str | None = None  # of the item opened last
        self._call: FunctionCall | None = None  # while it is open; arguments apart
        self._arguments: list[str] = []  # of the open call
        self._output: list[Item] = []  # the items that are closed

    @property
    def is_active(self) -> bool:
        """Whether it has started and not finished."""
        return self._state not in (_State.NEW, _State.FINISHED)

    @property
    def words(self) -> str:
        """The words sent so far: the transcript of the audio, or the text."""
        return "".join(self._words)

    @property
    def called(self) -> bool:
        """Whether it has begun to call a function: what comes next is up to the client."""
        return self._call is not None or any(
            isinstance(item, FunctionCall) for item in self._output
        )

    def start(self) -> list[ServerEvent]:
        """Announce the response."""
        self._move("start")
        return [wire.ResponseCreated(response=self._response(None, None, ()))]

    def audio(self, pcm: bytes, words: str = "") -> list[ServerEvent]:
        """Send audio in the plan's format, with the words that end in it."""
        events = self._open("audio")
        where = self._where()
        if words:
            self._words.append(words)
            events.append(wire.OutputTranscriptDelta(delta=words, **where))
        if pcm:
            events.append(wire.OutputAudioDelta(delta=pcm, **where))
        return events

    def text(self, words: str) -> list[ServerEvent]:
        """Send written words."""
        events = self._open("text")
        self._words.append(words)
        events.append(wire.OutputTextDelta(delta=words, **self._where()))
        return events

    def call(self, name: str) -> list[ServerEvent]:
        """The model begins to call a function: its words are over."""
        was_open = self._state is _State.OPEN
        self._move("call")
        events = self._close_message("completed") if was_open else []
        self._call = FunctionCall(
            id=self._new_id("item"), status="in_progress", name=name, call_id=self._new_id("call")
        )
        self._arguments = []
        return events + self._add(self._call)

    def arguments(self, text: str) -> list[ServerEvent]:
        """Send more of the arguments' text."""
        self._move("arguments")
        assert self._call is not None
        self._arguments.append(text)
        return [wire.FunctionArgumentsDelta(delta=text, **self._where_call(self._call))]

    def end_call(self) -> list[ServerEvent]:
        """The call is whole."""
        self._move("end_call")
        return self._close_call("completed")

    def thought(self, words: str) -> list[ServerEvent]:
        """Send reasoning, if the client asked for it."""
        self._move("thought")
        if not self.plan.thoughts:
            return []
        self._thoughts.append(words)
        return [wire.ThoughtDelta(response_id=self.response_id, delta=words)]

    def finish(self, ending: StatusDetails, usage: Usage | None = None) -> list[ServerEvent]:
        """Close everything that is open and end the response.

        ``ending`` is `COMPLETED`, `TURN_DETECTED`, `CLIENT_CANCELLED`, `MAX_OUTPUT_TOKENS` or
        `failed`. The transcript in the events is that of all audio sent; if the caller heard less,
        cut it afterwards with `Conversation.truncate`.
        """
        was = self._state
        self._move("finish")
        events: list[ServerEvent] = []
        if self._thoughts:
            thought = "".join(self._thoughts)
            events.append(wire.ThoughtDone(response_id=self.response_id, thought=thought))
        if was is _State.OPEN:
            events += self._close_message(
                "completed" if ending.type == "completed" else "incomplete"
            )
        elif was is _State.CALLING:
            events += self._close_call("incomplete")
        output = tuple(self._output)
        events.append(wire.ResponseDone(response=self._response(ending, usage, output)))
        return events

    def _move(self, move: str) -> None:
        try:
            self._state = _TRANSITIONS[self._state, move]
        except KeyError:
            raise IllegalTransition(f"{move} when the response is {self._state.name}") from None

    def _open(self, modality: str) -> list[ServerEvent]:
        """Move to OPEN; the first time, return what opens the item."""
        if modality != self.plan.modality:
            raise ValueError(f"{modality} in a response whose modality is {self.plan.modality}")
        is_open = self._state is _State.OPEN
        self._move("words")
        if is_open:
            return []
        part = AudioPart("") if modality == "audio" else TextPart("")
        return [
            *self._add(self._item("in_progress")),
            wire.ContentPartAdded(part=part, **self._where()),
        ]

    def _add(self, item: Message | FunctionCall) -> list[ServerEvent]:
        """Open an item of the output."""
        empty = replace(item, content=()) if isinstance(item, Message) else item
        events: list[ServerEvent] = [
            wire.OutputItemAdded(
                response_id=self.response_id, item=empty, output_index=len(self._output)
            )
        ]
        if self.plan.in_conversation:
            self._previous_item_id = self._conversation.insert(item)
            events.append(wire.ItemAdded(item=empty, previous_item_id=self._previous_item_id))
        return events

    def _done(self, item: Message | FunctionCall) -> list[ServerEvent]:
        """Close the item of the output that was opened last."""
        events: list[ServerEvent] = []
        if self.plan.in_conversation:
            self._conversation.finish(item)
            events.append(wire.ItemDone(item=item, previous_item_id=self._previous_item_id))
        index = len(self._output)
        self._output.append(item)
        done = wire.OutputItemDone(response_id=self.response_id, item=item, output_index=index)
        return [*events, done]

    def _close_call(self, status: Status) -> list[ServerEvent]:
        assert self._call is not None
        arguments = "".join(self._arguments)
        call = replace(self._call, status=status, arguments=arguments)
        done = wire.FunctionArgumentsDone(
            name=call.name, arguments=arguments, **self._where_call(call)
        )
        self._call = None
        return [done, *self._done(call)]

    def _close_message(self, status: Status) -> list[ServerEvent]:
        item = self._item(status)
        where = self._where()
        closers: list[ServerEvent]
        if self.plan.modality == "audio":
            closers = [
                wire.OutputAudioDone(**where),
                wire.OutputTranscriptDone(transcript=self.words, **where),
                wire.ContentPartDone(part=AudioPart(self.words), **where),
            ]
        else:
            closers = [
                wire.OutputTextDone(text=self.words, **where),
                wire.ContentPartDone(part=TextPart(self.words), **where),
            ]
        return [*closers, *self._done(item)]

    def _item(self, status: Status) -> Message:
        part = (
            OutputAudio(transcript=self.words)
            if self.plan.modality == "audio"
            else OutputText(self.words)
        )
        return Message(id=self.item_id, status=status, role="assistant", content=(part,))

    def _where(self) -> _Where:
        return {"response_id": self.response_id, "item_id": self.item_id}

    def _where_call(self, call: FunctionCall) -> _WhereCall:
        return {
            "response_id": self.response_id,
            "item_id": call.id,
            "call_id": call.call_id,
            "output_index": len(self._output),
        }

    def _response(
        self, ending: StatusDetails | None, usage: Usage | None, output: tuple[Item, ...]
    ) -> Response:
        plan = self.plan
        sound = ResponseAudio(ResponseAudioOutput(plan.audio_format, plan.voice))
        return Response(
            id=self.response_id,
            status="in_progress" if ending is None else ending.type,
            status_details=None if ending == COMPLETED else ending,
            output=output,
            conversation_id=self._conversation_id if plan.in_conversation else None,
            output_modalities=(plan.modality,),
            max_output_tokens=plan.max_output_tokens,
            audio=sound if plan.modality == "audio" else UNSET,
            metadata=UNSET if plan.metadata is None else plan.metadata,
            usage=usage,
        )


def check_can_respond(active: ResponseStream | None) -> None:
    """Refuse a second response while one is active.

    Raises:
        ProtocolError: conversation_already_has_active_response.
    """
    if active is not None and active.is_active:
        raise response_active(active.response_id)


def response_active(response_id: str = "not begun yet") -> ProtocolError:
    """Return the refusal of a second response."""
    return ProtocolError(
        f"Conversation already has an active response in progress: {response_id}. "
        "Wait until the response is finished before creating a new one.",
        code=Code.RESPONSE_ACTIVE,
    )


def check_can_cancel(active: ResponseStream | None, response_id: str | None) -> ResponseStream:
    """Return the response that a response.cancel means.

    Raises:
        ProtocolError: response_cancel_not_active.
    """
    if (
        active is None
        or not active.is_active
        or (response_id is not None and response_id != active.response_id)
    ):
        raise ProtocolError(
            "Cancellation failed: no active response found",
            code=Code.RESPONSE_NOT_ACTIVE,
            param=None if response_id is None else "response_id",
        )
    return active
