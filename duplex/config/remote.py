"""Options of what runs on other machines: a brain behind an endpoint, and the store that servers
share. `duplex.config` holds them with all others."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from duplex.config.section import Section
from duplex.errors import ConfigError

Preset = Literal[
    "",
    "step-audio-r1",
    "qwen-omni",
    "qwen-omni-dashscope",
    "voxtral",
    "voxtral-mistral",
    "ultravox",
    "gpt-audio",
]


_EDGE = re.compile(r"[A-Za-z0-9-]{1,64}")


class ChatTable(Section, frozen=True):
    """``[brain.chat]``: how the model wants to be asked, where that differs from the preset. See
    `engine.brain.chat_shape.ChatShape`."""

    roles: dict[str, str] | None = None  # ours -> its: user = "human"
    order: Literal["sound", "sound_text", "text_sound"] | None = None  # what a turn is sent as
    sound_turns: Annotated[int, Meta(ge=1)] | None = None  # that are sent as sound; older: as words
    piece_s: Annotated[float, Meta(ge=1)] | None = None  # of sound at the most
    sound_part: dict[str, Any] | None = None  # the form of one; "{wav}" is the file in base64
    sound_tokens_per_s: Annotated[float, Meta(gt=0)] | None = None  # of the context
    thinking: str | None = None  # begins an answer that is to think
    not_thinking: str | None = None  # begins one that is not
    start_message: dict[str, Any] | None = None  # of that beginning's message, besides
    start_body: dict[str, Any] | None = None  # of its request, besides
    opens_thought: bool | None = None  # its template opens <think>
    thoughts: tuple[str, ...] | None = None  # fields with reasoning, besides the usual
    limit: str | None = None  # the field for the most tokens
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None


class RemoteBrainOptions(Section, frozen=True):
    """The options of ``brain.kind = "openai"`` that no other kind has."""

    hears: bool = False  # kind "openai": send it the caller's sound
    preset: Preset = ""  # kind "openai": how its model wants to be asked; see docs/models.md
    prefill_ahead: bool = False  # kind "openai": send what is known while the caller speaks
    chat: ChatTable = ChatTable()  # what differs from the preset
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)  # of each request
    extra_headers: dict[str, str] = msgspec.field(default_factory=dict)

    def check_kind(self, kind: str) -> None:
        """
        Raises:
            ConfigError: a brain of another ``kind`` has one of these options.
        """
        for name in RemoteBrainOptions.__struct_fields__:
            if kind != "openai" and getattr(self, name) != getattr(_NONE, name):
                raise ConfigError(f'brain.{name} is for brain.kind = "openai"')

    def chat_changes(self) -> dict[str, Any]:
        """What ``chat`` sets."""
        values = {name: getattr(self.chat, name) for name in self.chat.__struct_fields__}
        return {name: value for name, value in values.items() if value is not None}


_NONE = RemoteBrainOptions()


class StoreConfig(Section, frozen=True):
    """What several servers of the same callers share. Empty: each is alone."""

    url: str = ""  # valkey://HOST:6379/0, valkeys:// with TLS, or redis://; needs the extra "scale"
    password_env: str = "DUPLEX_STORE_PASSWORD"  # the variable with its password, if it is set
    prefix: str = "duplex"  # of all names in it
    lease_s: Annotated[float, Meta(ge=1)] = 30.0  # after which a dead server's calls count no more
    budget_ms: Annotated[int, Meta(gt=0)] = 50  # of one operation; then it counts as down
    when_down: Literal["refuse", "admit"] = "refuse"  # new calls of keys that have limits
    edge: str = ""  # this server's name; it begins the tokens with which its calls are resumed
    address: str = ""  # where others send who resumes a call of it: ws://10.0.0.7:8765

    def __post_init__(self) -> None:
        if self.edge and not _EDGE.fullmatch(self.edge):
            raise ValueError(f"edge {self.edge!r} is not of letters, digits and hyphens")
        if self.address and not self.address.startswith(("ws://", "wss://")):
            raise ValueError(f"address {self.address!r} does not begin with ws:// or wss://")
