"""The one configuration: defaults, a TOML file over them, command-line options over that.

Every option stands here with its default and its unit. Unknown keys are rejected by name.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from duplex.errors import ConfigError
from duplex.model_store import default_root
from duplex.sentences import NOT_UNDERSTOOD, Sentence, Sentences
from duplex.toml_file import convert, read_toml

Positive = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[int, Meta(ge=0)]
MIN_CONTEXT_TOKENS = 256
_MIN_PHONE_CALL_S = 20.0  # 12 of them are for the goodbye
Thinking = Literal["off", "before", "think_first", "speak_first"]

PLUGIN = "plugin:"  # begins the kind of a part that another package brings
KINDS = {
    "engine": ("built-in",),
    "ear": ("whisper", "openai"),
    "brain": ("embedded", "native", "huggingface", "openai"),
    "voice": ("built-in", "piper", "openai"),
    "vad": ("silero",),
}


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


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

    kind: str = "built-in"  # the ear and the brain below; or "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in


class EarConfig(Section, frozen=True):
    kind: str = "whisper"  # or "openai" (an endpoint), "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "whisper-tiny.en"  # or whisper-base, auto, hub:org/name[@revision], /a/directory
    language: str = "en"  # or another's code, or "auto": as heard; multilingual models only
    threads: Positive = 1
    base_url: str = ""  # kind "openai": http://127.0.0.1:8000/v1
    api_key_env: str = "OPENAI_API_KEY"  # kind "openai": the variable that holds the key


class BrainConfig(Section, frozen=True):
    kind: str = "embedded"  # or "native", "huggingface", "openai", "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "qwen2.5-coder-0.5b"  # embedded: or qwen2.5-coder-1.5b; else a name or directory
    others: tuple[str, ...] = ()  # of the same kind, loaded too for clients to choose
    threads: Positive = 2
    context_tokens: NonNegative = 0  # 0: 2048, or 8192 for kinds "native" and "openai"
    incremental_prefill: bool = True  # false: prefill all when the turn is over, to compare
    max_tokens: Positive = 256  # of one answer
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    multi_step_calls: bool | Literal["auto"] = "auto"  # call again on a result; auto: not embedded
    instructions: str = ""  # empty: the built-in spoken style
    thinking: Thinking = "off"  # reason unheard; all but "before" is for kind "native"
    think_tokens: NonNegative = 0  # at most so many; 0: 96, or 1024 for kind "native"
    base_url: str = ""  # kind "openai": http://127.0.0.1:8000/v1
    api_key_env: str = "OPENAI_API_KEY"  # kind "openai": the variable that holds the key

    def context(self) -> int:
        """The longest conversation that the brain is shown, in tokens."""
        return self.context_tokens or (8192 if self.kind in ("native", "openai") else 2048)

    def thoughts(self) -> int:
        """The most thoughts of one reply, in tokens; fewer where the caller waits for them."""
        return self.think_tokens or (1024 if self.kind == "native" else 96)


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
    temperature: Annotated[float, Meta(ge=0, le=2)] | Literal["auto"] = "auto"  # the checkpoint's
    top_p: Annotated[float, Meta(gt=0, le=1)] | Literal["auto"] = "auto"
    repetition_penalty: PositiveFloat | Literal["auto"] = "auto"  # over all tokens of an answer
    thought_tokens: Positive = 80  # of one segment (Tc)
    speech_tokens: NonNegative = 0  # of one segment (Tr); 0: 20, or 100 if the model `speaks`
    speak_margin_s: PositiveFloat = 1.5  # speech left when the next segment is begun
    speaks: bool = False  # the model's own voice (ta4 and token2wav) in place of `voice`
    speech_limit_s: PositiveFloat = 60.0  # of one answer of its own voice
    voice_prompt: str = ""  # for that: how it is to sound, a recording of 0.5 to 30 s or an NPZ


class VoiceConfig(Section, frozen=True):
    kind: str = "built-in"  # "piper": `model` must be one; "openai": an endpoint; "plugin:NAME"
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # of the plug-in
    model: str = "hibari-heart"  # or a Piper voice, kokoro/SPEAKER; VOICE@+4: 4 semitones higher
    others: tuple[str, ...] = ("@+4", "@-2")  # for clients to choose; @+4: the same, higher
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0
    g2p: Literal["dictionary", "espeak"] = "dictionary"  # espeak: the system's libespeak-ng (GPL)
    locale: str = "en-US"  # how dates are read: 5/6 is in May, and elsewhere in June
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
    max_turn_s: PositiveFloat = 120.0  # a longer turn is ended as if the caller had paused
    interruption_ms: Positive = 96  # speech over a reply that may be an interruption
    resume_interrupted: bool = True  # go on with a reply after a cough or an "mm-hm"
    false_interruption_ms: Positive = 2000  # longer speech is always meant
    idle_prompt_s: Annotated[float, Meta(ge=0, le=30)] = 0.0  # 5 to 30: prompt the silent; 0: never


class DialogueConfig(Section, frozen=True):
    """What is said in the brain's place; empty: nothing."""

    not_understood: Sentences = NOT_UNDERSTOOD  # somebody spoke; a list: so often in a row
    no_answer: Sentence = ""  # the brain had no words, or only thoughts


class PhoneConfig(Section, frozen=True):
    """Calls of providers of phone numbers, and what they may cost."""

    public_url: str = ""  # how the provider reaches this server: https://bot.example.org
    trust_forwarded: bool = False  # else learn it from a proxy's X-Forwarded-Host and -Proto
    twilio_token_env: str = "TWILIO_AUTH_TOKEN"  # the variable with the account's auth token
    twilio_api: str = "https://api.twilio.com"  # for transfers
    assistant: str = ""  # the one that answers if the call names none; empty: the server's defaults
    max_call_s: PositiveFloat = 1800.0  # a longer call is ended with a goodbye; at least 20
    cost_per_minute: Annotated[float, Meta(ge=0)] = 0.0  # what a minute costs you, in any currency
    max_cost: Annotated[float, Meta(ge=0)] = 0.0  # of one call; 0: no limit
    minutes_per_day: Annotated[float, Meta(ge=0)] = 0.0  # of all calls of Twilio; 0: no limit
    hold_s: PositiveFloat = 120.0  # a caller on hold is asked after so long
    out_of_time: str = "I am sorry, our time is up. Goodbye."  # said at the end of max_call_s
    busy: str = "All lines are busy. Please call again later."  # said when the server is full
    trouble: str = "I am sorry, something went wrong. Please say that again."  # an answer failed
    not_understood: Sentences = ()  # as in `dialogue`; empty: that, or the built-in
    no_answer: Sentence = "I am sorry, I have no answer to that."  # as in `dialogue`

    @property
    def is_public(self) -> bool:
        """Whether others reach this server through a proxy, wherever it listens."""
        return bool(self.public_url) or self.trust_forwarded

    def limit_s(self) -> float:
        """How long a call may last, by the time and by the cost."""
        if not (self.max_cost and self.cost_per_minute):
            return self.max_call_s
        return min(self.max_call_s, 60 * self.max_cost / self.cost_per_minute)


class AssistantConfig(Section, frozen=True):
    """A voice assistant that answers the phone. Options that are empty are as in other calls."""

    instructions: str = ""
    voice: str = ""
    model: str = ""
    greeting: str = ""  # said first, word by word
    goodbye: str = ""  # said if the model hangs up without a word
    tools: tuple[Literal["hang_up", "transfer", "hold"], ...] = ()  # what it may do with the line
    transfer_to: dict[str, str] = msgspec.field(default_factory=dict)  # name -> phone number
    functions: str = ""  # a Python file of what it can do besides; see examples/appointments.py


class SipConfig(Section, frozen=True):
    """Calls of phones and exchanges over SIP, with UDP and G.711. Needs the extra ``sip``."""

    enabled: bool = False
    listen: str = "127.0.0.1:5060"  # others than this machine may call only with the password
    public_address: str = ""  # the address that phones are sent; empty: that of `listen`
    rtp_ports: str = ""  # for sound: "16384-16484"; empty: any free
    user: str = "duplex"
    password_env: str = "DUPLEX_SIP_PASSWORD"  # the variable with the password, if it is set
    register: str = ""  # our number at a provider, which then calls us: sip:USER@HOST[:PORT]
    register_password_env: str = "DUPLEX_SIP_REGISTER_PASSWORD"  # the variable with its password
    assistant: str = ""  # who answers a number that is no assistant's; empty: [phone]'s
    max_calls: NonNegative = 0  # at a time; 0: as many as the server holds
    ring_s: Annotated[float, Meta(ge=0)] = 0.0  # before a call is answered
    silent_s: PositiveFloat = 60.0  # a call from which nothing comes any more is ended

    def address(self) -> tuple[str, int]:
        """``listen`` as host and port.

        Raises:
            ConfigError: it is no IPv4 address and port.
        """
        host, _, port = self.listen.rpartition(":")
        try:
            return str(ipaddress.IPv4Address(host)), int(port)
        except ValueError:
            raise ConfigError(f"sip.listen: {self.listen!r} is not an address:port") from None

    def ports(self) -> tuple[int, int]:
        """``rtp_ports`` as the first and the last; (0, 0) for any.

        Raises:
            ConfigError: it is no range.
        """
        if not self.rtp_ports:
            return 0, 0
        first, _, last = self.rtp_ports.partition("-")
        if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
            raise ConfigError(f"sip.rtp_ports: {self.rtp_ports!r} is not of the form 16384-16484")
        return int(first), int(last)


class Config(Section, frozen=True):
    """All options. `load_config` reads and checks a file; one made in Python is checked by what
    it is given to (`check`)."""

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
    assistants: dict[str, AssistantConfig] = msgspec.field(default_factory=dict)  # by name

    def cache_dir(self) -> Path:
        """Where models are kept; reads the environment when it is called, not at import."""
        if self.models.cache_dir:
            return Path(self.models.cache_dir).expanduser()
        return default_root()


def load_config(path: Path | str | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read the TOML file ``path`` (None: only the defaults) and put ``overrides`` on top.

    ``overrides`` maps ``section.key`` to a value; None means 'not given'.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown or has a wrong value.
    """
    path = None if path is None else Path(path)
    table = {} if path is None else read_toml(path)
    for dotted, value in (overrides or {}).items():
        section, key = dotted.split(".")
        if value is not None and isinstance(table.setdefault(section, {}), dict):
            table[section][key] = value
    try:
        config = convert(table, Config)
    except ValueError as error:
        raise ConfigError(f"{path or 'options'}: {error}") from error
    check(config)
    return config if path is None else _beside(path, config)


def check(config: Config) -> None:
    """What the types of single options do not say.

    Raises:
        ConfigError: options contradict each other, or a kind is unknown.
    """
    _check_kinds(config)
    if config.brain.thinking not in ("off", "before") and config.brain.kind != "native":
        raise ConfigError(f'brain.thinking = "{config.brain.thinking}" needs brain.kind = "native"')
    if bool(config.server.tls_certificate) != bool(config.server.tls_key):
        raise ConfigError("server.tls_certificate and server.tls_key go together")
    for network in config.server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(
                f"server.trusted_proxies: {network!r} is no network such as 10.0.0.0/8 or ::1"
            ) from None
    if config.brain.context() < MIN_CONTEXT_TOKENS:
        raise ConfigError(f"brain.context_tokens must be at least {MIN_CONTEXT_TOKENS}, or 0")
    if 0 < config.turn.idle_prompt_s < 5:
        raise ConfigError("turn.idle_prompt_s must be 0, or 5 to 30")
    if config.turn.hangover_ms > config.turn.unfinished_ms:
        raise ConfigError("turn.unfinished_ms must not be less than turn.hangover_ms")
    _check_phone(config)


def _check_kinds(config: Config) -> None:
    for part, kinds in KINDS.items():
        section = getattr(config, part)
        if section.kind.startswith(PLUGIN):
            continue
        if section.kind not in kinds:
            known = ", ".join([*kinds, f"{PLUGIN}NAME"])
            raise ConfigError(f"{part}.kind: there is no kind {section.kind!r}; known: {known}")
        if section.options:
            raise ConfigError(f'{part}.options are for {part}.kind = "{PLUGIN}NAME"')


def _beside(path: Path, config: Config) -> Config:
    """The files of functions that assistants name are found from where the configuration is."""
    assistants = {
        name: structs.replace(a, functions=str(path.parent / Path(a.functions).expanduser()))
        if a.functions
        else a
        for name, a in config.assistants.items()
    }
    return structs.replace(config, assistants=assistants)


def _check_phone(config: Config) -> None:
    if config.phone.assistant and config.phone.assistant not in config.assistants:
        raise ConfigError(f"phone.assistant: there is no [assistants.{config.phone.assistant}]")
    if config.sip.assistant and config.sip.assistant not in config.assistants:
        raise ConfigError(f"sip.assistant: there is no [assistants.{config.sip.assistant}]")
    if bool(config.phone.max_cost) and not config.phone.cost_per_minute:
        raise ConfigError("phone.max_cost needs phone.cost_per_minute")
    if config.phone.out_of_time and config.phone.limit_s() < _MIN_PHONE_CALL_S:
        raise ConfigError(
            f"phone.max_call_s (or max_cost) leaves a call {config.phone.limit_s():g} s, which is "
            f"less than {_MIN_PHONE_CALL_S:g} and no time to say phone.out_of_time in"
        )
    if config.phone.hold_s >= config.server.idle_timeout_s:
        raise ConfigError("phone.hold_s must be less than server.idle_timeout_s")
    for name, assistant in config.assistants.items():
        if "transfer" in assistant.tools and not assistant.transfer_to:
            raise ConfigError(f"assistants.{name}.transfer_to is empty: nobody to transfer to")
