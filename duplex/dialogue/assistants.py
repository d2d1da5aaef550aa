"""The assistants of the configuration, as sessions."""

from urllib.parse import parse_qs, urlsplit

from msgspec import structs

from duplex.config import AssistantConfig, Config
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig


def asked_assistant(config: Config, path: str) -> AssistantConfig | None:
    """Return the assistant that the address of a call names (``?assistant=NAME``), if it names one.

    Raises:
        ProtocolError: there is none of that name.
    """
    for name in parse_qs(urlsplit(path).query).get("assistant", []):
        if name not in config.assistants:
            known = ", ".join(sorted(config.assistants)) or "none"
            message = f"There is no assistant {name[:64]!r}; known are: {known}."
            raise ProtocolError(message, code=Code.INVALID_VALUE, param="assistant")
        return config.assistants[name]
    return None


def as_assistant(session: SessionConfig, assistant: AssistantConfig) -> SessionConfig:
    """Return ``session`` with what the assistant says otherwise."""
    output, duplex = session.audio.output, session.duplex
    output = structs.replace(output, voice=assistant.voice or output.voice)
    greeting = assistant.greeting or duplex.greeting
    return structs.replace(
        session,
        model=assistant.model or session.model,
        instructions=assistant.instructions or session.instructions,
        audio=structs.replace(session.audio, output=output),
        duplex=structs.replace(duplex, greeting=greeting),
    )
