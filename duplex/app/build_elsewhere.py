"""An engine of other processes, as ``engine.kind = "remote"`` has it."""

import os
import ssl
from typing import TYPE_CHECKING

from msgspec import structs

from duplex.app.plugins import ELSEWHERE, Given
from duplex.config import Config, EngineConfig
from duplex.errors import ConfigError

if TYPE_CHECKING:
    from duplex.protocol.session_config import SessionConfig
    from engine.remote_engine.engine import RemoteEngine
    from engine.types import GenerationOptions


def is_elsewhere(config: Config, given: Given) -> bool:
    """Whether the engine is to be that of other processes."""
    is_given = (given.engine, given.ear, given.brain) != (None, None, None)
    return config.engine.kind == ELSEWHERE and not is_given


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


def as_engine_has_it(
    config: Config, engine: "RemoteEngine", defaults: "SessionConfig"
) -> "tuple[SessionConfig, GenerationOptions]":
    """What a call starts with, and how replies are decoded: as the engine is configured, unless
    this server has instructions of its own."""
    from engine.remote_engine.wire import generation_options

    about = engine.about
    assert about is not None
    instructions = config.brain.instructions or about.instructions
    defaults = structs.replace(defaults, model=about.model, instructions=instructions)
    return defaults, generation_options(about.options, lambda: 0.0)
