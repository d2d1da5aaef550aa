"""The tables of the configuration: every option with its default and its unit."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from duplex.config.phone import AssistantConfig, PhoneConfig, SipConfig
from duplex.config.recording import RecordingConfig
from duplex.config.remote import RemoteBrainOptions, StoreConfig
from duplex.config.section import NonNegative, Positive, PositiveFloat, Section
from duplex.config.telemetry import TelemetryConfig
from duplex.config.webhooks import WebhookConfig
from duplex.config.webrtc import WebRtcConfig
from duplex.model_store import default_root
from duplex.sentences import NOT_UNDERSTOOD, Sentence, Sentences

MIN_CONTEXT_TOKENS = 256
Thinking = Literal["off", "before", "think_first", "speak_first"]
PLUGIN = "plugin:"  # begins the kind of a part that another package brings
KINDS = {
    "engine": ("built-in", "remote"),
    "ear": ("whisper", "openai"),
    "brain": ("embedded", "native", "huggingface", "vllm", "openai"),
    "voice": ("built-in", "piper", "openai", "remote"),
    "vad": ("silero",),
}


class ServerConfig(Section, frozen=True):
    host: str = "127.0.0.1"  # others are refused without a key, see `access`
    port: Annotated[int, Meta(ge=0, le=65535)] = 8765  # 0: any free port
    insecure: bool = False  # serve others than this machine without a key
    root_path: str = ""  # of a proxy that passes its path on as it is: "/voice"
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For, -Proto, -Host hold
    tls_certificate: str = ""  # PEM file, with the chain; empty: no TLS
    tls_key: str = ""  # PEM file
    log_format: Literal["text", "json"] = "text"  # json: an object a line
    max_calls: Positive = 4  # the next caller is refused; as two cores hold: docs/operations.md
    idle_timeout_s: PositiveFloat = 600.0  # a call in which nothing arrives is closed
    max_call_s: PositiveFloat = 7200.0  # a longer call is closed
    max_message_bytes: Positive = 21 * 1024 * 1024  # a 15 MiB append in base64, and its frame
    max_outbox_bytes: Positive = 4 * 1024 * 1024  # a client this far behind is dropped
    stall_s: PositiveFloat = 20.0  # a client that takes nothing for so long is dropped
    playout_lead_s: PositiveFloat = 2.0  # audio is made and sent at most this far ahead of playing
    drain_s: PositiveFloat = 30.0  # when the server is stopped: for answers to be finished
    resume_s: PositiveFloat = 30.0  # how long a dropped call waits for clients that asked for it
    resume_bytes: Positive = 4 * 1024 * 1024  # of what was sent is kept for them

    def root(self) -> str:
        """``root_path`` with a slash before it and none behind; empty if there is none."""
        inside = self.root_path.strip("/")
        return f"/{inside}" if inside else ""


class AccessConfig(Section, frozen=True):
    """Who may call. The limits are those of one key, for keys without their own."""

    keys_file: str = ""  # TOML, a table a key; see duplex.example.toml
    key_env: str = "DUPLEX_API_KEY"  # the variable with a single key, if it is set
    admin_key_env: str = "DUPLEX_ADMIN_KEY"  # likewise, with the one that may see all calls
    origins: tuple[str, ...] = ()  # web pages that may call, "*" for all
    calls: NonNegative = 0  # at a time; 0: no limit
    minutes_per_day: Annotated[float, Meta(ge=0)] = 0.0  # 0: no limit
    bytes_per_s: NonNegative = 2 * 1024 * 1024  # from one address, beyond a burst; 0: no limit


class LimitsConfig(Section, frozen=True):
    """What one connection may do, and when the next caller is refused."""

    handshake_s: PositiveFloat = 10.0  # for the request to arrive, or the TLS handshake
    max_handshakes: Positive = 128  # at a time; past it the oldest is dropped
    messages_per_s: Positive = 500  # pings too; those of ten seconds at once
    audio_rate: PositiveFloat = 8.0  # seconds of audio taken in a second, after the first 327
    refuse_lag_ms: NonNegative = 250  # event loop late by this (p95): refuse calls; 0: never
    refuse_stage: Literal["ear", "first_token", "first_audio", "released"] = "ear"
    refuse_stage_ms: NonNegative = 2500  # reached so late in recent turns (p95); 0: never


class ModelsConfig(Section, frozen=True):
    cache_dir: str = ""  # empty: the system's, $XDG_CACHE_HOME/duplex-r1 or ~/.cache/duplex-r1


class EngineConfig(Section, frozen=True):
    """What hears and thinks, as one."""

    kind: str = "built-in"  # the ear and the brain below; or "remote", "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    url: str | tuple[str, ...] = ""  # kind "remote": ws://gpu:8766 or wss://, or a list of them
    api_key_env: str = "DUPLEX_ENGINE_KEY"  # kind "remote": the variable that holds the key
    tls_authority: str = ""  # kind "remote": PEM file, if the system does not know who signed

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        given = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(url for url in given if url)


class EarConfig(Section, frozen=True):
    kind: str = "whisper"  # or "openai" (an endpoint), "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "whisper-tiny.en"  # or whisper-base, auto, hub:org/name[@revision], /a/directory
    language: str = "en"  # or another's code, or "auto": as heard; multilingual models only
    threads: Positive = 1
    manner: bool = False  # tell a text brain in a line how the caller sounds, if it is unusual
    base_url: str = ""  # kind "openai": http://127.0.0.1:8000/v1
    api_key_env: str = "OPENAI_API_KEY"  # kind "openai": the variable that holds the key


class BrainConfig(RemoteBrainOptions, frozen=True, kw_only=True):
    kind: str = "embedded"  # or "native", "huggingface", "vllm", "openai", "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "qwen2.5-coder-0.5b"  # embedded: or qwen2.5-coder-1.5b; else a name or directory
    others: tuple[str, ...] = ()  # of the same kind, loaded too for clients to choose
    threads: Positive = 2
    context_tokens: NonNegative = 0  # 0: 2048, or 8192 for "native", "vllm" and "openai"
    incremental_prefill: bool = True  # false: prefill all when the turn is over, to compare
    max_tokens: Positive = 256  # of one answer
    temperature: Annotated[float, Meta(ge=0, le=2)] | Literal["auto"] = (
        "auto"  # 0; "openai": its own
    )
    multi_step_calls: bool | Literal["auto"] = "auto"  # call again on a result; auto: not embedded
    instructions: str = ""  # empty: the built-in spoken style
    thinking: Thinking = "off"  # reason unheard; all but "before": "native", "vllm"
    think_tokens: NonNegative = 0  # at most so many; 0: 96, or 1024: "native", "vllm", presets
    base_url: str = ""  # kind "openai": http://127.0.0.1:8000/v1
    api_key_env: str = "OPENAI_API_KEY"  # kind "openai": the variable that holds the key
    vllm: dict[str, Any] = msgspec.field(default_factory=dict)  # kind "vllm": its engine's options

    def context(self) -> int:
        """The longest conversation that the brain is shown, in tokens."""
        return self.context_tokens or (8192 if self.kind in ("native", "vllm", "openai") else 2048)

    def thoughts(self) -> int:
        """The most thoughts of one reply, in tokens; fewer where the caller waits for them."""
        return self.think_tokens or (1024 if self.kind in ("native", "vllm") or self.preset else 96)


class NativeConfig(Section, frozen=True):
    """For brain.kind "native": Step-Audio, or a Qwen2 text model, on this project's engine."""

    device: str = "auto"  # cuda if there is one, else cpu
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"  # bfloat16 on cuda
    weight_bits: Literal[4, 8, 16] = 16  # of the language model's layers
    cache_tokens: NonNegative = 0  # of all calls; 0: as many as fit
    prefill_tokens: Positive = 128  # in a step between those of replies: how long these wait
    chunk_ms: Positive = 400  # audio that is encoded and prefilled at a time
    lookahead_ms: NonNegative = 480  # audio behind it that it hears
    hearing: Literal["incremental", "exact_end", "exact"] = "incremental"  # docs/native.md
    encoder_graphs: bool = False  # on cuda: sound is encoded in CUDA graphs; not measured yet
    temperature: Annotated[float, Meta(ge=0, le=2)] | Literal["auto"] = "auto"  # the checkpoint's
    top_p: Annotated[float, Meta(gt=0, le=1)] | Literal["auto"] = "auto"
    repetition_penalty: PositiveFloat | Literal["auto"] = "auto"  # over all tokens of an answer
    thought_tokens: Positive = 80  # of one segment (Tc); for brain.kind "vllm", too
    speech_tokens: NonNegative = 0  # of one segment (Tr); 0: 20, or 100 if the model `speaks`
    speak_margin_s: PositiveFloat = 1.5  # speech left when the next segment is begun
    speaks: bool = False  # the model's own voice (ta4 and token2wav) in place of `voice`
    speech_limit_s: PositiveFloat = 60.0  # of one answer of its own voice
    voice_prompt: str = ""  # for that: how it is to sound, a recording of 0.5 to 30 s or an NPZ


class VoiceConfig(Section, frozen=True):
    kind: str = (
        "built-in"  # or "piper", "openai" (an endpoint), "remote" (the engine's), "plugin:NAME"
    )
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "hibari-heart"  # or a Piper voice, kokoro/SPEAKER, espeak/de; VOICE@+4: higher
    others: tuple[str, ...] = ("@+4", "@-2")  # for clients to choose; @+4: the same, higher
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0
    g2p: Literal["dictionary", "espeak"] = "dictionary"  # espeak: the system's libespeak-ng (GPL)
    locale: str = "en-US"  # how English dates are read: 5/6 is in May, and elsewhere in June
    threads: NonNegative = 0  # 0: as the voice is best, 1 or 2
    name: str = ""  # kind "openai": the voice of `model`; `others` are voices of it, too
    instructions: str = ""  # kind "openai": how it is to speak, for models that obey some
    base_url: str = ""  # kind "openai": http://127.0.0.1:8000/v1
    api_key_env: str = "OPENAI_API_KEY"  # kind "openai": the variable that holds the key


class VadConfig(Section, frozen=True):
    """The detector of speech; when a turn begins and ends is in `turn`."""

    kind: str = "silero"  # or "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in


class TurnConfig(Section, frozen=True):
    threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.5  # speech probability that starts a turn
    prefix_padding_ms: NonNegative = 300  # audio kept from before the detected onset
    speculate_after_ms: Positive = 32  # silence after which a reply is begun and held back
    hangover_ms: Positive = 300  # silence that ends a turn whose words sound finished
    unfinished_ms: Positive = 1000  # silence that ends a turn whose words call for more
    listens_to_ends: bool = True  # a network hears how complete a turn sounds, beside the words
    max_turn_s: PositiveFloat = 120.0  # a longer turn is ended as if the caller had paused
    interruption_ms: Positive = 96  # speech over a reply that may be an interruption
    resume_interrupted: bool = True  # go on with a reply after a cough or an "mm-hm"
    false_interruption_ms: Positive = 2000  # longer speech is always meant
    idle_prompt_s: Annotated[float, Meta(ge=0, le=30)] = 0.0  # 5 to 30: prompt the silent; 0: never


class DialogueConfig(Section, frozen=True):
    """What is said in the brain's place; empty: nothing."""

    not_understood: Sentences = NOT_UNDERSTOOD  # somebody spoke; a list: so often in a row
    no_answer: Sentence = ""  # the brain had no words, or only thoughts
    greeting: Sentence = ""  # said first, once the client sends sound; the phone has its own


class Config(Section, frozen=True):
    """All options. `load_config` checks them; one made in Python is checked where it is given."""

    server: ServerConfig = ServerConfig()
    access: AccessConfig = AccessConfig()
    limits: LimitsConfig = LimitsConfig()
    models: ModelsConfig = ModelsConfig()
    engine: EngineConfig = EngineConfig()
    ear: EarConfig = EarConfig()
    brain: BrainConfig = BrainConfig()
    native: NativeConfig = NativeConfig()
    voice: VoiceConfig = VoiceConfig()
    vad: VadConfig = VadConfig()
    turn: TurnConfig = TurnConfig()
    dialogue: DialogueConfig = DialogueConfig()
    phone: PhoneConfig = PhoneConfig()
    sip: SipConfig = SipConfig()
    store: StoreConfig = StoreConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    recording: RecordingConfig = RecordingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    webhooks: tuple[WebhookConfig, ...] = ()  # each is sent events
    assistants: dict[str, AssistantConfig] = msgspec.field(default_factory=dict)  # by name

    def cache_dir(self) -> Path:
        """Where models are kept; reads the environment when it is called, not at import."""
        if self.models.cache_dir:
            return Path(self.models.cache_dir).expanduser()
        return default_root()
