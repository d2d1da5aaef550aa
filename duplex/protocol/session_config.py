"""The session's configuration: what a client may set, with defaults, and how updates merge."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from duplex.audio.formats import ALAW, PCM16, ULAW, Codec
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.decoding import check_depth, protocol_errors
from duplex.protocol.items import Text
from duplex.protocol.tools import ToolChoice, Tools, check_tools
from duplex.sentences import Sentence, Sentences

Modality = Literal["audio", "text"]
Modalities = tuple[Modality]
"""One of them, never both."""
MaxTokens = Annotated[int, Meta(ge=1, le=4096)] | Literal["inf"]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Json = dict[str, Any]


class Pcm(Struct, frozen=True, tag_field="type", tag="audio/pcm"):
    """Signed 16-bit little-endian mono at 24 kHz, the only rate that clients accept."""

    rate: Literal[24000] = 24000
    sample_rate: ClassVar[int] = 24_000
    codec: ClassVar[Codec] = PCM16


class Pcmu(Struct, frozen=True, tag_field="type", tag="audio/pcmu"):
    """G.711 mu-law, 8 kHz mono."""

    sample_rate: ClassVar[int] = 8_000
    codec: ClassVar[Codec] = ULAW


class Pcma(Struct, frozen=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law, 8 kHz mono."""

    sample_rate: ClassVar[int] = 8_000
    codec: ClassVar[Codec] = ALAW


AudioFormat = Pcm | Pcmu | Pcma


class ServerVad(Struct, frozen=True, tag_field="type", tag="server_vad"):
    """A turn ends after ``silence_duration_ms`` of silence. A caller who says nothing for
    ``idle_timeout_ms`` after a response is prompted, if that is not None."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=10_000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=0, le=60_000)] = 300
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Struct, frozen=True, tag_field="type", tag="semantic_vad"):
    """A turn ends when what was said sounds finished."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = ServerVad | SemanticVad


class Transcription(Struct, frozen=True):
    """The client wants transcripts of its audio. Nothing else is kept: clients reject the echo
    of any further field."""

    model: Name | None = None
    language: Name | None = None
    prompt: Text | None = None


class NoiseReduction(Struct, frozen=True):
    """Where the microphone is."""

    type: Literal["near_field", "far_field"]


class AudioInput(Struct, frozen=True):
    """The caller's audio and how it is cut into turns; ``turn_detection`` None is manual."""

    format: AudioFormat = Pcm()
    turn_detection: TurnDetection | None = ServerVad()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None


class AudioOutput(Struct, frozen=True):
    """How responses sound."""

    format: AudioFormat = Pcm()
    voice: Name = "default"
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0


class AudioConfig(Struct, frozen=True):
    """Both directions."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class DuplexOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Our own namespace: events that a client receives only if it asks for them, and words."""

    metrics: bool = False
    thoughts: bool = False
    resume: bool = False  # the call may be taken up again when its socket drops
    record: bool | None = None  # false, once: nothing is kept of a call on a server that records
    # What is said in place of the brain; None: what the server's configuration says.
    not_understood: Sentences | None = None
    no_answer: Sentence | None = None
    greeting: Sentence | None = None  # said once the caller's first sound is there


class SessionConfig(Struct, frozen=True, kw_only=True):
    """Everything a client may set, in effect. Changed only by `merge`.

    Fields that this server has no use for are kept and sent back, as clients expect. A session of
    ``type`` transcription only writes down what it hears: no response is made in it.
    """

    type: Literal["realtime", "transcription"] = "realtime"
    model: Name = "default"
    instructions: Text = ""
    output_modalities: Modalities = ("audio",)
    max_output_tokens: MaxTokens = "inf"
    audio: AudioConfig = AudioConfig()
    tools: Tools = ()
    tool_choice: ToolChoice = "auto"
    truncation: Literal["auto", "disabled"] | Json = "auto"
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tracing: Literal["auto"] | Json | None = None
    include: tuple[str, ...] | None = None
    prompt: Json | None = None
    reasoning: Json | None = None
    parallel_tool_calls: bool | None = None
    duplex: DuplexOptions = field(default_factory=DuplexOptions)

    def merge(
        self, update: Mapping[str, Any], defaults: "SessionConfig | None" = None
    ) -> "SessionConfig":
        """Return this configuration with ``update`` (the JSON of a session.update) laid over it.

        An absent field is kept and a null one cleared: fields that may be null become null, the
        others return to their value in ``defaults`` (the server's configuration for new calls).
        Fields that nobody knows are ignored. An object with another ``type`` than the one it
        meets replaces it whole.

        Raises:
            ProtocolError: a value is not allowed; ``param`` is its path.
        """
        check_depth(update, "session")
        fallback = msgspec.to_builtins(defaults or SessionConfig())
        merged = _merged(msgspec.to_builtins(self), _plain_voice(update), fallback, "")
        with protocol_errors("session"):
            config = msgspec.convert(merged, SessionConfig)
        check_tools(config.tools, "session")
        if not config.only_transcribes:
            if self.only_transcribes:
                raise ProtocolError(
                    "A transcription session stays one. Open another for a conversation.",
                    code=Code.INVALID_VALUE,
                    param="session.type",
                )
            return config
        heard = config.audio.input
        if heard.transcription is None:
            heard = structs.replace(heard, transcription=Transcription())
        return structs.replace(config, audio=structs.replace(config.audio, input=heard))

    @property
    def only_transcribes(self) -> bool:
        """Whether no response is made."""
        return self.type == "transcription"

    def to_dict(self) -> Json:
        """Return the configuration as the client gets it.

        Nulls are left out, because clients reject some of them; turn_detection's stays, as
        without it a client cannot see that it is in manual mode. Our own namespace is shown to
        those who use it.
        """
        whole: Json = {k: v for k, v in msgspec.to_builtins(self).items() if v is not None}
        heard = whole["audio"]["input"]
        for key in ("transcription", "turn_detection"):
            if heard[key] is not None:
                heard[key] = _without_nulls(heard[key])
        whole["audio"]["input"] = {
            k: v for k, v in heard.items() if v is not None or k == "turn_detection"
        }
        if self.duplex == DuplexOptions():
            del whole["duplex"]
        else:
            whole["duplex"] = _without_nulls(whole["duplex"])
        if not self.only_transcribes:
            return {"object": "realtime.session", **whole}
        kept: Json = {key: whole[key] for key in ("type", "include", "duplex") if key in whole}
        audio = {"input": whole["audio"]["input"]}
        return {"object": "realtime.transcription_session", **kept, "audio": audio}


# Objects whose fields merge one by one; all others are replaced whole.
_MERGED = frozenset(
    {
        "audio",
        "audio.input",
        "audio.input.format",
        "audio.input.turn_detection",
        "audio.input.transcription",
        "audio.input.noise_reduction",
        "audio.output",
        "audio.output.format",
        "duplex",
    }
)
# Fields for which null is a value of its own.
_NULLABLE = frozenset(
    {
        "audio.input.turn_detection",
        "audio.input.turn_detection.idle_timeout_ms",
        "audio.input.transcription",
        "audio.input.transcription.model",
        "audio.input.transcription.language",
        "audio.input.transcription.prompt",
        "audio.input.noise_reduction",
        "temperature",
        "tracing",
        "include",
        "prompt",
        "reasoning",
        "parallel_tool_calls",
    }
)


def _merged(old: Json, update: Mapping[str, Any], fallback: Json, path: str) -> Json:
    result = dict(old)
    for key, value in update.items():
        here = f"{path}.{key}" if path else key
        if value is None:
            if here in _NULLABLE:
                result[key] = None
            elif key in fallback:
                result[key] = fallback[key]
            else:  # unknown here, or of an object that the defaults do not have
                result.pop(key, None)
        elif here in _MERGED and isinstance(value, Mapping):
            beneath = _same_type(old.get(key), value)
            result[key] = _merged(beneath, value, _same_type(fallback.get(key), value), here)
        else:
            result[key] = value
    return result


def _same_type(old: object, update: Mapping[str, Any]) -> Json:
    """Return ``old`` if ``update`` can be laid over it, else an empty object."""
    if not isinstance(old, dict):
        return {}
    return old if update.get("type", old.get("type")) == old.get("type") else {}


def _plain_voice(update: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``update`` with a voice given as ``{"id": name}`` as the name alone, because
    clients reject the echo of the object."""
    match update:
        case {"audio": {"output": {"voice": {"id": str(name)}} as output} as audio}:
            return {**update, "audio": {**audio, "output": {**output, "voice": name}}}
        case {"audio": {"output": {"voice": dict()}}}:
            raise ProtocolError(
                "Missing required field: 'session.audio.output.voice.id'.",
                code=Code.MISSING_FIELD,
                param="session.audio.output.voice.id",
            )
    return update


def _without_nulls(mapping: Json) -> Json:
    return {key: value for key, value in mapping.items() if value is not None}
