"""Parts that another machine runs, behind OpenAI-compatible addresses. Said at the start, in a line
each: what of an address, a key, a proxy or a model's name cannot be right."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duplex.app.plugins import Given, is_made
from duplex.config import Config
from duplex.errors import ConfigError

if TYPE_CHECKING:
    from engine.brain.interface import Brain
    from engine.remote.service import Service

REMOTE = "openai"  # the kind of such a part
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A part that is to be asked: where, with which key, and for which models."""

    base_url: str
    key_env: str
    models: tuple[str, ...]


def find_services(config: Config, given: Given) -> "dict[str, Service]":
    """The services of all parts that others run, by part; each was asked for its models. Nothing
    is loaded before, so that what is wrong is said at once.

    Raises:
        ConfigError: one cannot be asked as it is configured, or does not know its model.
    """
    brain = config.brain
    asked = {"brain": _Asked(brain.base_url, brain.api_key_env, (brain.model, *brain.others))}
    return {
        part: _find(part, what)
        for part, what in asked.items()
        if getattr(config, part).kind == REMOTE and is_made(config, given, part)
    }


def load_remote_brain(config: Config, services: "Mapping[str, Service]") -> "Brain":
    """The brain of ``brain.kind = "openai"``; its service is looked for if it is not there.

    Raises:
        ConfigError: as `find_services`.
    """
    from engine.brain.openai_compatible import OpenAIBrain

    service = services.get("brain") or find_services(config, Given())["brain"]
    return OpenAIBrain(
        service.base_url,
        config.brain.model,
        api_key=service.api_key,
        context_tokens=config.brain.context(),
    )


def _find(part: str, asked: _Asked) -> "Service":
    from engine.errors import EngineError
    from engine.remote.service import Service
    from engine.remote.start import AddressError, checked, mended

    try:
        url, said = mended(f"{part}.base_url", asked.base_url)
        key = os.environ.get(asked.key_env, "").strip()
        service, lines = checked(Service(part, url, key), part, asked.models)
    except (AddressError, EngineError) as error:
        raise ConfigError(str(error)) from error
    for line in filter(None, [said, *lines]):
        logger.warning("%s", line)
    return service
