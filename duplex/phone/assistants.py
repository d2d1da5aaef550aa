"""The assistants of the configuration, as the session and the line settings of a phone call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from duplex.config import AssistantConfig, Config
from duplex.dialogue.assistants import as_assistant
from duplex.phone.events import Encoding
from duplex.protocol.session_config import (
    AudioFormat,
    AudioInput,
    AudioOutput,
    DuplexOptions,
    Pcm,
    Pcma,
    Pcmu,
    SessionConfig,
    Transcription,
)
from duplex.protocol.tools import FunctionTool
from duplex.sentences import NOT_UNDERSTOOD, several

HANG_UP, TRANSFER, HOLD = "hang_up", "transfer", "hold"
LINE_TOOLS = frozenset({HANG_UP, TRANSFER, HOLD})


@dataclass(frozen=True, slots=True)
class LineSettings:
    """The assistant's settings that the line itself obeys. Durations in seconds."""

    greeting: str = ""
    goodbye: str = ""
    out_of_time: str = ""
    trouble: str = ""
    tools: frozenset[str] = frozenset()  # of `LINE_TOOLS`, those that the model may use
    numbers: Mapping[str, str] = field(default_factory=dict)  # to transfer calls to, by name
    hold_s: float = 120.0
    limit_s: float = float("inf")  # of the call
    can_say: bool = True  # whether the voice can say given words; else the model is asked to


def assistant_named(config: Config, name: str | None) -> AssistantConfig | None:
    """Return the assistant of that name, None if there is none. Without a name, return the default
    one."""
    name = name or config.phone.assistant
    return config.assistants.get(name, None if name else AssistantConfig())


def line_settings(
    config: Config,
    assistant: AssistantConfig,
    tools: Iterable[FunctionTool],
    *,
    can_say: bool,
    notice: str = "",
) -> LineSettings:
    """Return the settings of a line; ``tools`` are those of `tools_of`, ``notice`` is said before
    the greeting."""
    phone = config.phone
    return LineSettings(
        f"{notice} {assistant.greeting}".strip(),
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
    config: Config,
    defaults: SessionConfig,
    assistant: AssistantConfig,
    encoding: Encoding,
    tools: tuple[FunctionTool, ...],
) -> SessionConfig:
    """Return the session that a call with the assistant begins with. It transcribes: the line needs
    to know whether there were words in what the caller said. And it never leaves them in silence: a
    telephone has no screen."""
    session = as_assistant(defaults, assistant)
    input_, output, phone = session.audio.input, session.audio.output, config.phone
    wire = format_of(encoding)
    audio = structs.replace(
        session.audio,
        input=AudioInput(
            format=wire, turn_detection=input_.turn_detection, transcription=Transcription()
        ),
        output=AudioOutput(format=wire, voice=output.voice, speed=output.speed),
    )
    return structs.replace(
        session,
        audio=audio,
        tools=tools,
        duplex=DuplexOptions(
            not_understood=_not_understood(config),
            no_answer=phone.no_answer,
            greeting="",  # the line says its own
        ),
    )


def _not_understood(config: Config) -> tuple[str, ...]:
    own, common = several(config.phone.not_understood), several(config.dialogue.not_understood)
    return own or common or NOT_UNDERSTOOD


def format_of(encoding: Encoding) -> AudioFormat:
    """Return the session's format for a line: the line's own if it is one of the session's, else
    the best."""
    match encoding.name:
        case "pcmu":
            return Pcmu()
        case "pcma":
            return Pcma()
    return Pcm()


def tools_of(assistant: AssistantConfig, *, transfers: bool) -> tuple[FunctionTool, ...]:
    """Return the tools with which the assistant's model controls the line."""
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
