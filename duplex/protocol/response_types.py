"""The contents of response events: the response, its parts, its ending and its token counts."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from duplex.protocol.items import Item
from duplex.protocol.session_config import AudioFormat, MaxTokens, Modality


class AudioPart(Struct, frozen=True, tag_field="type", tag="audio"):
    """A content part of a spoken response."""

    transcript: str


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A content part of a written response."""

    text: str


class ResponseError(Struct, frozen=True):
    """Why a response failed."""

    type: str
    code: str
    message: str


class StatusDetails(Struct, frozen=True):
    """How a response ended."""

    type: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: (
        Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]
        | UnsetType
    ) = UNSET
    error: ResponseError | UnsetType = UNSET


class CachedTokens(Struct, frozen=True):
    """Counts of the cached input tokens."""

    text_tokens: int
    audio_tokens: int


class InputTokens(Struct, frozen=True):
    """Counts of the input tokens."""

    text_tokens: int
    audio_tokens: int
    cached_tokens: int
    cached_tokens_details: CachedTokens


class OutputTokens(Struct, frozen=True):
    """Counts of the output tokens."""

    text_tokens: int
    audio_tokens: int


class Usage(Struct, frozen=True):
    """True token counts of one response."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokens
    output_token_details: OutputTokens

    @classmethod
    def of_text(cls, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> "Usage":
        """Return the usage of a brain that reads and writes text."""
        return cls(
            total_tokens=input_tokens + output_tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_token_details=InputTokens(
                text_tokens=input_tokens,
                audio_tokens=0,
                cached_tokens=cached_tokens,
                cached_tokens_details=CachedTokens(text_tokens=cached_tokens, audio_tokens=0),
            ),
            output_token_details=OutputTokens(text_tokens=output_tokens, audio_tokens=0),
        )


class ResponseAudioOutput(Struct, frozen=True):
    """How the response sounds."""

    format: AudioFormat
    voice: str


class ResponseAudio(Struct, frozen=True):
    """Output only."""

    output: ResponseAudioOutput


class Response(Struct, frozen=True, kw_only=True):
    """A response as its first and its last event report it."""

    id: str
    object: Literal["realtime.response"] = "realtime.response"
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    conversation_id: str | None
    output_modalities: tuple[Modality]
    max_output_tokens: MaxTokens
    audio: ResponseAudio | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    usage: Usage | None = None
