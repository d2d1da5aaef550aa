"""The one configuration: defaults, a TOML file over them, command-line options over that.

`duplex.config.options` lists the tables; those of the phone, of WebRTC and of what other machines
do have modules of their own.
"""

from duplex.config.load import (
    check,
    load_config,
)
from duplex.config.options import (
    KINDS,
    MIN_CONTEXT_TOKENS,
    PLUGIN,
    AccessConfig,
    BrainConfig,
    Config,
    DialogueConfig,
    EarConfig,
    EngineConfig,
    LimitsConfig,
    ModelsConfig,
    NativeConfig,
    ServerConfig,
    Thinking,
    TurnConfig,
    VadConfig,
    VoiceConfig,
)
from duplex.config.phone import (
    AssistantConfig,
    PhoneConfig,
    SipConfig,
)
from duplex.config.recording import (
    RecordingConfig,
)
from duplex.config.remote import (
    ChatTable,
    Preset,
    RemoteBrainOptions,
    StoreConfig,
)
from duplex.config.section import (
    NonNegative,
    Positive,
    PositiveFloat,
    Section,
    port_range,
)
from duplex.config.telemetry import (
    TelemetryConfig,
)
from duplex.config.webhooks import (
    EventName,
    WebhookConfig,
)
from duplex.config.webrtc import (
    WebRtcConfig,
)

__all__ = [
    "KINDS",
    "MIN_CONTEXT_TOKENS",
    "PLUGIN",
    "AccessConfig",
    "AssistantConfig",
    "BrainConfig",
    "ChatTable",
    "Config",
    "DialogueConfig",
    "EarConfig",
    "EngineConfig",
    "EventName",
    "LimitsConfig",
    "ModelsConfig",
    "NativeConfig",
    "NonNegative",
    "PhoneConfig",
    "Positive",
    "PositiveFloat",
    "Preset",
    "RecordingConfig",
    "RemoteBrainOptions",
    "Section",
    "ServerConfig",
    "SipConfig",
    "StoreConfig",
    "TelemetryConfig",
    "Thinking",
    "TurnConfig",
    "VadConfig",
    "VoiceConfig",
    "WebRtcConfig",
    "WebhookConfig",
    "check",
    "load_config",
    "port_range",
]
