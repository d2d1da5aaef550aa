"""Reads the configuration: a TOML file over the defaults, command-line options over that. Unknown
keys are rejected by name."""

import ipaddress
from pathlib import Path
from typing import Any

from msgspec import structs

from duplex.config.options import KINDS, MIN_CONTEXT_TOKENS, PLUGIN, Config
from duplex.errors import ConfigError
from duplex.toml_file import convert, did_you_mean, read_toml

_MIN_PHONE_CALL_S = 20.0  # 12 of them are for the goodbye


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
        raise ConfigError(f"{path}: {error}" if path else str(error)) from error
    check(config)
    return config if path is None else _beside(path, config)


def check(config: Config) -> None:
    """What the types of single options do not say.

    Raises:
        ConfigError: options contradict each other, or a kind is unknown.
    """
    _check_kinds(config)
    config.brain.check_kind(config.brain.kind)
    _check_elsewhere(config)
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


def _check_elsewhere(config: Config) -> None:
    """What runs in other processes, and what only some brains can."""
    if bool(config.engine.urls) != (config.engine.kind == "remote"):
        raise ConfigError('engine.kind = "remote" and engine.url go together')
    if config.voice.kind == "remote" and config.engine.kind != "remote":
        raise ConfigError('voice.kind = "remote" is the voice of engine.kind = "remote"')
    brain = config.brain
    if brain.thinking not in ("off", "before") and brain.kind not in ("native", "vllm"):
        kinds = 'brain.kind = "native" or "vllm"'
        raise ConfigError(f'brain.thinking = "{brain.thinking}" needs {kinds}')
    if brain.vllm and brain.kind != "vllm":
        raise ConfigError('[brain.vllm] is for brain.kind = "vllm"')


def _check_kinds(config: Config) -> None:
    for part, kinds in KINDS.items():
        section = getattr(config, part)
        if section.kind.startswith(PLUGIN):
            continue
        if section.kind not in kinds:
            known = ", ".join([*kinds, f"{PLUGIN}NAME"]) + did_you_mean(section.kind, kinds)
            raise ConfigError(f"{part}.kind: there is no {section.kind!r}; known: {known}")
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
