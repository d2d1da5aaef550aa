"""Conversation items, as clients send them and as the server keeps and sends them.

Items never hold audio: what a caller said is kept as its transcript, so a call's memory does not
grow with its length. `conversation.item.retrieve` therefore answers with the transcript only.
"""

from typing import Annotated, Literal, assert_never

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code

MAX_AUDIO_BYTES = 15 * 1024 * 1024  # of one message, decoded; the API's own limit
MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 1_000_000

Role = Literal["system", "user", "assistant"]
Status = Literal["in_progress", "completed", "incomplete"]
ItemId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
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
    """A written answer."""

    text: Text


class OutputAudio(Struct, frozen=True, tag_field="type", tag="output_audio"):
    """A spoken answer; ``transcript`` is null until it has ended."""

    audio: Audio | UnsetType | None = UNSET
    transcript: Text | None = None


Content = InputText | InputAudio | OutputText | OutputAudio

ALLOWED_CONTENT: dict[Role, tuple[type, ...]] = {
    "system": (InputText,),
    "user": (InputText, InputAudio),
    "assistant": (OutputText, OutputAudio),
}


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """An item of the conversation."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"
    role: Role
    content: tuple[Content, ...] = ()

    @property
    def text(self) -> str:
        """All words of the item: texts and known transcripts, joined by spaces."""
        return " ".join(words for part in self.content if (words := words_of(part)))


class MessageParam(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """An item as a client asks for it; see `to_message`."""

    role: Role
    content: Annotated[tuple[Content, ...], Meta(max_length=64)]
    id: ItemId | None = None
    status: Status | None = None

    def to_message(self, item_id: str) -> Message:
        """Return the item under ``item_id``, without its audio, finished."""
        status: Status = "incomplete" if self.status == "incomplete" else "completed"
        content = tuple(without_audio(part) for part in self.content)
        return Message(id=item_id, status=status, role=self.role, content=content)


def check_content(item: MessageParam) -> None:
    """Refuse content that cannot come from the item's role.

    Raises:
        ProtocolError: unsupported_content_type.
    """
    for index, part in enumerate(item.content):
        if not isinstance(part, ALLOWED_CONTENT[item.role]):
            raise ProtocolError(
                f"A {item.role} message cannot hold {part.__struct_config__.tag} content.",
                code=Code.UNSUPPORTED_CONTENT_TYPE,
                param=f"item.content[{index}].type",
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
