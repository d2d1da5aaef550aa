"""An engine of other processes, and its voice, as ``engine.kind = "remote"`` has it."""

import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from duplex.app.plugins import ELSEWHERE, Given
from duplex.config import Config, EngineConfig
from duplex.errors import ConfigError

if TYPE_CHECKING:
    from duplex.app.remote_voice import RemoteVoice
    from duplex.dialogue.parts import Parts
    from engine.remote_engine.engine import RemoteEngine
    from engine.remote_engine.wire import About


def with_elsewhere(config: Config, given: Given) -> "tuple[Given, RemoteEngine | None]":
    """Add the engine of other processes, and its voice, if ``config`` names them and no such part
    is given.

    Raises:
        ConfigError: as `load_elsewhere`; or its model makes its own speech, and another voice is
            configured.
    """
    if config.engine.kind != ELSEWHERE or (given.engine or given.ear or given.brain) is not None:
        return given, None
    engine = load_elsewhere(config.engine)
    voice = given.voice
    if voice is None and config.voice.kind == ELSEWHERE:
        voice = _voices(engine)[0]
    elif voice is None and _about(engine).voices[0].takes_codes:
        raise ConfigError('the model of this engine makes its own speech: voice.kind = "remote"')
    return replace(given, engine=engine, voice=voice), engine


def as_engine_has_it(parts: "Parts", config: Config, engine: "RemoteEngine") -> "Parts":
    """``parts`` with what a call starts with, and how replies are decoded: as the engine is
    configured, unless this server has instructions of its own."""
    from engine.remote_engine.wire import generation_options

    about, defaults = _about(engine), parts.defaults
    instructions = config.brain.instructions or about.instructions
    defaults = structs.replace(defaults, model=about.model, instructions=instructions)
    generation = generation_options(about.options, lambda: 0.0)
    parts = replace(parts, defaults=defaults, generation=generation)
    if config.voice.kind != ELSEWHERE:
        return parts
    first, *others = _voices(engine)
    output = structs.replace(defaults.audio.output, voice=first.name)
    defaults = structs.replace(defaults, audio=structs.replace(defaults.audio, output=output))
    return replace(
        parts,
        defaults=defaults,
        voices={voice.name: voice for voice in others},
        voice_languages=about.voice_languages,
    )


def load_elsewhere(config: EngineConfig) -> "RemoteEngine":
    """The engine, which has told what it is.

    Raises:
        ConfigError: an address, the key or the authority cannot be used, or no engine answers.
    """
    from engine.errors import EngineError
    from engine.remote_engine.engine import RemoteEngine

    try:
        tls = ssl.create_default_context(cafile=config.tls_authority or None)
        engine = RemoteEngine(config.urls, os.environ.get(config.api_key_env, "").strip(), tls)
    except OSError as error:
        raise ConfigError(f"engine.tls_authority: {error}") from error
    except ValueError as error:
        raise ConfigError(f"engine.url: {error}") from error
    try:
        engine.meet()
    except EngineError as error:
        raise ConfigError(
            f"engine.url: no engine answers ({error}); one is started with `duplex engine`, and "
            f"its key belongs in {config.api_key_env}"
        ) from error
    return engine


def _voices(engine: "RemoteEngine") -> "list[RemoteVoice]":
    from duplex.app.remote_voice import RemoteVoice

    return [RemoteVoice(engine, voice) for voice in _about(engine).voices]


def _about(engine: "RemoteEngine") -> "About":
    assert engine.about is not None, "it was met"
    return engine.about
