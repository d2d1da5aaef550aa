"""Parts that another machine runs, behind OpenAI-compatible addresses. Said at the start, in a line
each: what of an address, a key, a proxy or a model's name cannot be right."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from msgspec import structs

from duplex.app.plugins import Given, is_made
from duplex.config import Config
from duplex.errors import ConfigError

if TYPE_CHECKING:
    from duplex.config import BrainConfig, EarConfig, VoiceConfig
    from engine.brain.interface import Brain
    from engine.ear.interface import Ear
    from engine.remote.background import Background
    from engine.remote.service import Service
    from tts.openai.voice import Fetch, OpenAIVoice
    from tts.types import Voice

    _Section = EarConfig | BrainConfig | VoiceConfig

REMOTE = "openai"  # the kind of such a part
_EAR_S, _VOICE_S = 10.0, 10.0  # a caller waits in silence; the brain may think for longer
_SPEAKERS = 16  # answers that are spoken at a time; each has a thread that mostly waits
logger = logging.getLogger(__name__)


def ask_services(config: Config, given: Given) -> Config:
    """Ask the services of all parts that others run for their models, and return ``config`` with
    their addresses mended. Nothing is loaded before, so that what is wrong is said at once.

    Raises:
        ConfigError: one cannot be asked as it is configured, or does not know its model.
    """
    config, lines = asked_services(config, given)
    for line in lines:
        logger.warning("%s", line)
    return config


def asked_services(config: Config, given: Given) -> tuple[Config, list[str]]:
    """As `ask_services`, which logs the lines that are to be said.

    Raises:
        ConfigError: as `ask_services`.
    """
    if not config.voice.name and config.voice.kind == REMOTE and is_made(config, given, "voice"):
        raise ConfigError('voice.name must be set for voice.kind = "openai", such as "alloy"')
    said = []
    for part in ("ear", "brain", "voice"):
        section = getattr(config, part)
        if section.kind == REMOTE and is_made(config, given, part):
            models = [section.model, *(section.others if part == "brain" else ())]
            url, lines = _asked(part, section, models)
            said += lines
            config = structs.replace(config, **{part: structs.replace(section, base_url=url)})
    return config, said


def speakers(config: Config, given: Given) -> int:
    """How many answers may be spoken at a time: one, where this machine computes them."""
    return _SPEAKERS if config.voice.kind == REMOTE and is_made(config, given, "voice") else 1


def load_remote_brain(config: Config) -> "Brain":
    """The brain of ``brain.kind = "openai"``.

    Raises:
        ConfigError: it cannot be asked as it is configured.
    """
    from engine.brain.openai_compatible import OpenAIBrain

    service = _service("brain", config.brain)
    return OpenAIBrain(
        service.base_url,
        config.brain.model,
        api_key=service.api_key,
        context_tokens=config.brain.context(),
    )


def load_remote_ear(config: Config) -> "Ear":
    """The ear of ``ear.kind = "openai"``.

    Raises:
        ConfigError: it cannot be asked as it is configured.
    """
    from engine.ear.openai_compatible import OpenAIEar

    return OpenAIEar(_service("ear", config.ear, _EAR_S), config.ear.model, config.ear.language)


def load_remote_voices(config: Config) -> "tuple[OpenAIVoice, dict[str, Voice]]":
    """The voice of ``voice.kind = "openai"``, and all others by name.

    Raises:
        ConfigError: it cannot be asked as it is configured.
    """
    from engine.remote.background import Background
    from tts.openai.voice import OpenAIVoice

    voice = config.voice
    fetch = _fetching(Background(_service("voice", voice, _VOICE_S)))
    others = [name for name in voice.others if not name.startswith("@")]
    first, *rest = (
        OpenAIVoice(fetch, voice.model, name, voice.instructions) for name in (voice.name, *others)
    )
    return first, dict(zip(others, rest, strict=True))


def _fetching(http: "Background") -> "Fetch":
    """How a voice asks, which does no HTTP itself."""
    from engine.remote.service import RemoteError
    from tts.errors import VoiceError

    def fetch(request: dict[str, Any]) -> Iterator[bytes]:
        try:
            with closing(http.sound("audio/speech", json=request)) as pieces:
                yield from pieces
        except RemoteError as error:
            raise VoiceError(str(error)) from error

    return fetch


def _service(part: str, section: "_Section", timeout_s: float = 30.0) -> "Service":
    from engine.errors import EngineError
    from engine.remote.service import Service
    from engine.remote.start import AddressError, mended

    try:
        url, _ = mended(f"{part}.base_url", section.base_url)
        return Service(part, url, os.environ.get(section.api_key_env, "").strip(), timeout_s)
    except (AddressError, EngineError) as error:
        raise ConfigError(str(error)) from error


def _asked(part: str, section: "_Section", models: list[str]) -> tuple[str, list[str]]:
    """The mended address of a service, which is asked for ``models``, and what is to be said."""
    from engine.errors import EngineError
    from engine.remote.start import checked, mended

    service = _service(part, section)
    try:
        service, lines = checked(service, part, models)
    except EngineError as error:
        raise ConfigError(str(error)) from error
    _, said = mended(f"{part}.base_url", section.base_url)
    return service.base_url, [line for line in (said, *lines) if line]
