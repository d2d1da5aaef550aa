"""The server events of one response, in their order, whenever and however it ends."""

from enum import Enum, auto
from typing import TypedDict

from msgspec import UNSET

from duplex.errors import IllegalTransition, ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId
from duplex.protocol.items import Message, OutputAudio, OutputText, Status
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


def failed(message: str, code: str = Code.SERVER_ERROR) -> StatusDetails:
    """Return the ending of a response that the server could not give."""
    return StatusDetails("failed", error=ResponseError("server_error", code, message))


class _Where(TypedDict):
    response_id: str
    item_id: str


class _State(Enum):
    NEW = auto()  # nothing sent
    STARTED = auto()  # response.created sent; no item yet
    OPEN = auto()  # the item and its part are open
    FINISHED = auto()  # response.done sent


_TRANSITIONS = {
    (_State.NEW, "start"): _State.STARTED,
    (_State.STARTED, "thought"): _State.STARTED,
    (_State.STARTED, "words"): _State.OPEN,
    (_State.STARTED, "finish"): _State.FINISHED,
    (_State.OPEN, "thought"): _State.OPEN,
    (_State.OPEN, "words"): _State.OPEN,
    (_State.OPEN, "finish"): _State.FINISHED,
}


class ResponseStream:
    """Turns the progress of one response into server events.

    `start`, then any number of `audio` (or `text`) and `thought`, then `finish`, once, at any
    moment after `start`. The item joins the conversation with the first words, so a response
    that is stopped before them leaves no trace in the history.

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
        self._conversation = conversation
        self._conversation_id = conversation_id
        self._state = _State.NEW
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._previous_item_id: str | None = None  # known once the item is open

    @property
    def is_active(self) -> bool:
        """Whether it has started and not finished."""
        return self._state in (_State.STARTED, _State.OPEN)

    @property
    def words(self) -> str:
        """The answer as sent so far: the transcript of the audio, or the text."""
        return "".join(self._words)

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
        `failed`. The transcript told is that of all audio sent; if the caller heard less, cut
        it afterwards with `Conversation.truncate`.
        """
        is_open = self._state is _State.OPEN
        self._move("finish")
        events: list[ServerEvent] = []
        if self._thoughts:
            thought = "".join(self._thoughts)
            events.append(wire.ThoughtDone(response_id=self.response_id, thought=thought))
        output: tuple[Message, ...] = ()
        if is_open:
            item = self._item("completed" if ending.type == "completed" else "incomplete")
            self._conversation.finish(item)
            events += self._closers(item)
            output = (item,)
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
        self._previous_item_id = self._conversation.insert(self._item("in_progress"))
        empty = Message(id=self.item_id, status="in_progress", role="assistant")
        part = AudioPart("") if modality == "audio" else TextPart("")
        return [
            wire.OutputItemAdded(response_id=self.response_id, item=empty),
            wire.ItemAdded(item=empty, previous_item_id=self._previous_item_id),
            wire.ContentPartAdded(part=part, **self._where()),
        ]

    def _closers(self, item: Message) -> list[ServerEvent]:
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
        return [
            *closers,
            wire.ItemDone(item=item, previous_item_id=self._previous_item_id),
            wire.OutputItemDone(response_id=self.response_id, item=item),
        ]

    def _item(self, status: Status) -> Message:
        part = (
            OutputAudio(transcript=self.words)
            if self.plan.modality == "audio"
            else OutputText(self.words)
        )
        return Message(id=self.item_id, status=status, role="assistant", content=(part,))

    def _where(self) -> _Where:
        return {"response_id": self.response_id, "item_id": self.item_id}

    def _response(
        self, ending: StatusDetails | None, usage: Usage | None, output: tuple[Message, ...]
    ) -> Response:
        plan = self.plan
        sound = ResponseAudio(ResponseAudioOutput(plan.audio_format, plan.voice))
        return Response(
            id=self.response_id,
            status="in_progress" if ending is None else ending.type,
            status_details=None if ending == COMPLETED else ending,
            output=output,
            conversation_id=self._conversation_id,
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
