"""Who answers the phone: what the configuration says of an assistant, as the session of a call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from duplex.config import AssistantConfig, Config
from duplex.phone.events import Encoding
from duplex.protocol.session_config import (
    AudioFormat,
    AudioInput,
    AudioOutput,
    Pcm,
    Pcma,
    Pcmu,
    SessionConfig,
    Transcription,
)
from duplex.protocol.tools import FunctionTool

HANG_UP, TRANSFER, HOLD = "hang_up", "transfer", "hold"
LINE_TOOLS = frozenset({HANG_UP, TRANSFER, HOLD})


@dataclass(frozen=True, slots=True)
class LineSettings:
    """What the line itself knows of the assistant. Durations in seconds."""

    greeting: str = ""
    goodbye: str = ""
    out_of_time: str = ""
    trouble: str = ""
    tools: frozenset[str] = frozenset()  # of the line: which of them the model may use
    numbers: Mapping[str, str] = field(default_factory=dict)  # to transfer to, by name
    hold_s: float = 120.0
    limit_s: float = float("inf")  # of the call
    can_say: bool = True  # whether the voice says given words; else the model is asked to


def assistant_named(config: Config, name: str | None) -> AssistantConfig | None:
    """The assistant of that name; of None or the empty name the one that answers by default.
    None if there is none of that name."""
    name = name or config.phone.assistant
    return config.assistants.get(name, None if name else AssistantConfig())


def line_settings(
    config: Config, assistant: AssistantConfig, tools: Iterable[FunctionTool], *, can_say: bool
) -> LineSettings:
    """What the line needs to know; ``tools`` are those of `tools_of`."""
    phone = config.phone
    return LineSettings(
        assistant.greeting,
        assistant.goodbye,
        phone.out_of_time,
        phone.trouble,
        frozenset(tool.name for tool in tools),
        assistant.transfer_to,
        phone.hold_s,
        phone.limit_s(),
        can_say,
    )


def session_of(
    defaults: SessionConfig,
    assistant: AssistantConfig,
    encoding: Encoding,
    tools: tuple[FunctionTool, ...],
) -> SessionConfig:
    """What a call with the assistant begins with. The line needs to know whether there were words
    in what the caller said: hence the transcription."""
    heard, spoken = defaults.audio.input, defaults.audio.output
    wire = format_of(encoding)
    audio = structs.replace(
        defaults.audio,
        input=AudioInput(
            format=wire, turn_detection=heard.turn_detection, transcription=Transcription()
        ),
        output=AudioOutput(format=wire, voice=assistant.voice or spoken.voice, speed=spoken.speed),
    )
    return structs.replace(
        defaults,
        model=assistant.model or defaults.model,
        instructions=assistant.instructions or defaults.instructions,
        audio=audio,
        tools=tools,
    )


def format_of(encoding: Encoding) -> AudioFormat:
    """The session's format for a line: its own if there is one, else the best."""
    match encoding.name:
        case "pcmu":
            return Pcmu()
        case "pcma":
            return Pcma()
    return Pcm()


def tools_of(assistant: AssistantConfig, *, transfers: bool) -> tuple[FunctionTool, ...]:
    """What the assistant may do with the line."""
    tools = []
    if HANG_UP in assistant.tools:
        tools.append(
            _tool(HANG_UP, "Ends the phone call. Use it when the caller says goodbye.", {})
        )
    if TRANSFER in assistant.tools and transfers:
        to = {"type": "string", "enum": list(assistant.transfer_to)}
        description = "Connects the caller with somebody else and ends your part of the call."
        tools.append(_tool(TRANSFER, description, {"to": to}))
    if HOLD in assistant.tools:
        description = "Waits silently until the caller is back. Use it when asked to wait."
        tools.append(_tool(HOLD, description, {}))
    return tuple(tools)


def _tool(name: str, description: str, properties: dict[str, Any]) -> FunctionTool:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return FunctionTool(name=name, description=description, parameters=parameters)
