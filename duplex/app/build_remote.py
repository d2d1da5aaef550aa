"""Parts that another machine runs, behind OpenAI-compatible addresses. Said at the start, in a line
each: what of an address, a key, a proxy or a model's name cannot be right."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from duplex.app.plugins import ELSEWHERE, Given, is_made
from duplex.config import Config
from duplex.errors import ConfigError

if TYPE_CHECKING:
    from duplex.config import BrainConfig, EarConfig, VoiceConfig
    from engine.brain.chat_shape import ChatShape
    from engine.brain.openai_compatible import OpenAIBrain
    from engine.ear.interface import Ear
    from engine.remote.background import Background
    from engine.remote.service import Service
    from tts.openai.voice import Fetch, OpenAIVoice
    from tts.types import Voice

    _Section = EarConfig | BrainConfig | VoiceConfig

REMOTE = "openai"  # the kind of such a part
_EAR_S, _VOICE_S = 10.0, 10.0  # a caller waits in silence; the brain may think for longer
_HEARING_S = 10.0  # for a first second of sound, which an endpoint may have to warm up for
_OF_SOUND = frozenset({400, 404, 415, 422, 501})  # how sound is refused
_MEANS_SOUND = re.compile("audio|multi-?modal|sound|content", re.IGNORECASE)
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
            url, lines = _asked(part, config, models)
            said += lines
            config = structs.replace(config, **{part: structs.replace(section, base_url=url)})
    return config, said


def speakers(config: Config, given: Given) -> int:
    """How many answers may be spoken at a time: one, where this machine computes them."""
    is_asked = config.voice.kind == REMOTE and is_made(config, given, "voice")
    return _SPEAKERS if is_asked or config.voice.kind == ELSEWHERE else 1


def load_remote_brain(config: Config) -> "OpenAIBrain":
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
        shape=chat_shape(config.brain),
        prefill_ahead=config.brain.prefill_ahead,
    )


def chat_shape(brain: "BrainConfig") -> "ChatShape":
    """How the brain behind an endpoint wants to be asked: its preset, and what differs from it."""
    from engine.brain.chat_shape import PRESETS

    preset = PRESETS[brain.preset]
    changes = brain.chat_changes()
    if brain.temperature != "auto":
        changes["temperature"] = brain.temperature
    body = {**preset.body, **brain.extra_body}
    headers = {**preset.headers, **brain.extra_headers}
    return replace(preset, **{**changes, "body": body, "headers": headers})


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


def _asked(part: str, config: Config, models: list[str]) -> tuple[str, list[str]]:
    """The mended address of a service, which is asked for ``models``, and what is to be said."""
    from engine.errors import EngineError
    from engine.remote.start import checked, mended

    section = getattr(config, part)
    service = _service(part, section)
    try:
        service, lines = checked(service, part, models)
    except EngineError as error:
        raise ConfigError(str(error)) from error
    _, said = mended(f"{part}.base_url", section.base_url)
    if part == "brain" and config.brain.hears:
        lines += _check_hearing(service, config.brain)
    return service.base_url, [line for line in (said, *lines) if line]


def _check_hearing(service: "Service", brain: "BrainConfig") -> list[str]:
    """Send a second of silence to a brain that is to hear. Returns what is to be said.

    Raises:
        ConfigError: it takes no sound.
    """
    import numpy as np

    from engine.brain.clips import Clip, ClippedSound
    from engine.brain.openai_request import Requests
    from engine.remote.service import RemoteError
    from engine.remote.start import tried

    shape = chat_shape(brain)
    silence = ClippedSound((Clip(np.zeros(16_000, np.float32)),))
    lines = []
    for model in (brain.model, *brain.others):
        request = Requests(model, shape, brain.context()).ahead([], silence)
        try:
            status, said = tried(service, request, _HEARING_S, shape.headers)
        except RemoteError as error:
            lines.append(f"brain.hears is not checked: {error}")
            continue
        if status in _OF_SOUND or (status >= 500 and _MEANS_SOUND.search(said)):
            raise ConfigError(
                f"brain.hears: {service.name} refuses sound for {model} ({status}: {said}): set "
                "brain.hears = false, or brain.preset and brain.chat as its model wants it"
            )
        if said:
            lines.append(f"brain.hears is not checked: {service.name} says {status}: {said}")
    return lines
