"""Conversation items, as clients send them and as the server keeps and sends them.

Items never hold audio: what a caller said is kept as its transcript, so a call's memory does not
grow with its length. `conversation.item.retrieve` therefore returns the transcript only.
"""

from typing import Annotated, Literal, assert_never

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code

MAX_AUDIO_BYTES = 15 * 1024 * 1024  # of one message, decoded; the API's own limit
MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 1_000_000
MAX_CALL_ID_CHARS = 32  # clients accept no more
MAX_FUNCTION_NAME_CHARS = 64

Role = Literal["system", "user", "assistant"]
Status = Literal["in_progress", "completed", "incomplete"]
ItemId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
FunctionName = Annotated[str, Meta(pattern=rf"^[a-zA-Z0-9_.-]{{1,{MAX_FUNCTION_NAME_CHARS}}}$")]
CallId = Annotated[str, Meta(min_length=1, max_length=MAX_CALL_ID_CHARS)]
Audio = Annotated[bytes, Meta(max_length=MAX_AUDIO_BYTES)]
"""Base64 on the wire."""


class InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    """Written words of the user or the system."""

    text: Text


class InputAudio(Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Spoken words of the user; ``transcript`` is null until the ear has finished."""

    audio: Audio | UnsetType | None = UNSET
    transcript: Text | None = None


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    """Written words of a response."""

    text: Text


class OutputAudio(Struct, frozen=True, tag_field="type", tag="output_audio"):
    """Spoken words of a response; ``transcript`` is null until it has ended."""

    audio: Audio | UnsetType | None = UNSET
    transcript: Text | None = None


Content = InputText | InputAudio | OutputText | OutputAudio

ALLOWED_CONTENT: dict[Role, tuple[type, ...]] = {
    "system": (InputText,),
    "user": (InputText, InputAudio),
    "assistant": (OutputText, OutputAudio),
}


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """Something said or written."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"
    role: Role
    content: tuple[Content, ...] = ()

    @property
    def text(self) -> str:
        """All words of the item: texts and known transcripts, joined by spaces."""
        return " ".join(words for part in self.content if (words := words_of(part)))


class FunctionCall(Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """The model wants a function of the client's called; ``arguments`` is JSON text."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"
    name: str
    call_id: str
    arguments: str = ""

    @property
    def text(self) -> str:
        """The text that counts for the conversation's size."""
        return self.arguments


class FunctionCallOutput(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"
):
    """The output of the client's function."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"
    call_id: str
    output: str

    @property
    def text(self) -> str:
        """The text that counts for the conversation's size."""
        return self.output


Item = Message | FunctionCall | FunctionCallOutput
"""An item of a conversation."""


class FunctionCallParam(Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call as a client sends it, of an earlier conversation."""

    name: FunctionName
    call_id: CallId
    arguments: Text
    id: ItemId | None = None
    status: Status | None = None

    def to_item(self, item_id: str) -> FunctionCall:
        """Return the item under ``item_id``, finished."""
        return FunctionCall(
            id=item_id,
            status=_finished(self.status),
            name=self.name,
            call_id=self.call_id,
            arguments=self.arguments,
        )


class FunctionCallOutputParam(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"
):
    """The output of a function, as a client sends it."""

    call_id: CallId
    output: Text
    id: ItemId | None = None
    status: Status | None = None

    def to_item(self, item_id: str) -> FunctionCallOutput:
        """Return the item under ``item_id``, finished."""
        return FunctionCallOutput(
            id=item_id, status=_finished(self.status), call_id=self.call_id, output=self.output
        )


class MessageParam(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message as a client sends it; see `to_item`."""

    role: Role
    content: Annotated[tuple[Content, ...], Meta(max_length=64)]
    id: ItemId | None = None
    status: Status | None = None

    def to_item(self, item_id: str) -> Message:
        """Return the item under ``item_id``, without its audio, finished."""
        content = tuple(without_audio(part) for part in self.content)
        status = _finished(self.status)
        return Message(id=item_id, status=status, role=self.role, content=content)


ItemParam = MessageParam | FunctionCallParam | FunctionCallOutputParam
"""An item as a client sends it."""


def check_content(item: ItemParam, param: str = "item") -> None:
    """Refuse content that cannot come from the item's role; ``param`` is the item's place.

    Raises:
        ProtocolError: unsupported_content_type.
    """
    if not isinstance(item, MessageParam):
        return
    for index, part in enumerate(item.content):
        if not isinstance(part, ALLOWED_CONTENT[item.role]):
            raise ProtocolError(
                f"A {item.role} message cannot hold {part.__struct_config__.tag} content.",
                code=Code.UNSUPPORTED_CONTENT_TYPE,
                param=f"{param}.content[{index}].type",
            )


def check_words(item: ItemParam, param: str = "item") -> None:
    """Refuse speech of which there is neither a transcript nor the sound.

    Raises:
        ProtocolError: unsupported_content_type.
    """
    if not isinstance(item, MessageParam):
        return
    for index, part in enumerate(item.content):
        if isinstance(part, InputAudio) and part.transcript is None and part.audio in (None, UNSET):
            raise ProtocolError(
                "An input_audio part needs its audio or its transcript.",
                code=Code.UNSUPPORTED_CONTENT_TYPE,
                param=f"{param}.content[{index}].transcript",
            )


def words_of(part: Content) -> str:
    """Return the part's text or transcript; empty where there is none (yet)."""
    match part:
        case InputText() | OutputText():
            return part.text
        case InputAudio() | OutputAudio():
            return part.transcript or ""
        case _:
            assert_never(part)


def without_audio(part: Content) -> Content:
    """Return the part as it is kept."""
    if isinstance(part, InputAudio | OutputAudio):
        return replace(part, audio=UNSET)
    return part


def _finished(status: Status | None) -> Status:
    """Return the status of an item that a client sends."""
    return "incomplete" if status == "incomplete" else "completed"
