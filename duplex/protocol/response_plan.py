"""What one response is to be: the session's configuration with the response's own on top."""

from dataclasses import dataclass

from duplex.protocol.client_events import ResponseParams, VoiceId
from duplex.protocol.session_config import AudioFormat, MaxTokens, Modality, SessionConfig


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """Settings of one response. ``metadata`` is the client's and goes back to it unchanged."""

    modality: Modality
    instructions: str
    max_output_tokens: MaxTokens
    audio_format: AudioFormat
    voice: str
    speed: float
    metadata: dict[str, str] | None
    thoughts: bool


def plan_response(config: SessionConfig, params: ResponseParams | None = None) -> ResponsePlan:
    """Return the plan for a response to the current turn."""
    own = params or ResponseParams()
    sound = config.audio.output
    asked = own.audio.output if own.audio else None
    voice = (asked.voice if asked else None) or sound.voice
    return ResponsePlan(
        modality=(own.output_modalities or config.output_modalities)[0],
        instructions=config.instructions if own.instructions is None else own.instructions,
        max_output_tokens=own.max_output_tokens or config.max_output_tokens,
        audio_format=(asked.format if asked else None) or sound.format,
        voice=voice.id if isinstance(voice, VoiceId) else voice,
        speed=sound.speed,
        metadata=own.metadata,
        thoughts=config.duplex.thoughts,
    )
