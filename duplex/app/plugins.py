"""Parts that the server does not build itself: given in Python, or named in the configuration.

A package brings parts as entry points, a loader each:

    [project.entry-points."duplex.brains"]
    parrot = "my_package:load"

``kind = "plugin:parrot"`` then calls ``load(**options)`` with the section's ``options``.
"""

import inspect
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

from duplex.config import PLUGIN, Config
from duplex.dialogue.interfaces import Engine
from duplex.errors import ConfigError
from duplex.turns.interfaces import Vad
from engine.brain.interface import Brain
from engine.ear.interface import Ear
from tts.types import Voice

GROUPS = {
    "engine": "duplex.engines",
    "ear": "duplex.ears",
    "brain": "duplex.brains",
    "voice": "duplex.voices",
    "vad": "duplex.vads",
}

ELSEWHERE = "remote"  # the kind of an engine that other processes have


@dataclass(frozen=True, slots=True)
class Given:
    """Parts that are there already. None: made from the configuration.

    Raises:
        ValueError: an engine is given, and an ear or a brain, which it would not use.
    """

    engine: Engine | None = None
    ear: Ear | None = None
    brain: Brain | None = None
    voice: Voice | None = None
    vad: Vad | None = None

    def __post_init__(self) -> None:
        if self.engine is not None and (self.ear is not None or self.brain is not None):
            raise ValueError("an engine hears and thinks itself: give no ear and no brain with it")


NOTHING_GIVEN = Given()


def with_plugins(config: Config, given: Given) -> Given:
    """Load the plug-ins that ``config`` names, unless such a part is given.

    Raises:
        ConfigError: a plug-in is not installed, cannot be imported or refuses its options.
    """
    if given.engine is None and given.ear is None and given.brain is None:
        given = _with_plugin(config, given, "engine")
    parts = ("ear", "brain", "voice", "vad") if given.engine is None else ("voice", "vad")
    for part in parts:
        given = _with_plugin(config, given, part)
    return given


def is_made(config: Config, given: Given, part: str) -> bool:
    """Whether ``part`` is to be made here: it is neither given nor a plug-in, nor is an engine in
    the place of an ear or a brain."""
    kind: str = getattr(config, part).kind
    if getattr(given, part) is not None or kind.startswith(PLUGIN) or kind == ELSEWHERE:
        return False
    if part not in ("ear", "brain"):
        return True
    given_parts = given.ear is not None or given.brain is not None
    return given.engine is None and (given_parts or is_made(config, given, "engine"))


def name_of(config: Config, given: Given, part: str) -> str | None:
    """What clients are shown as the name of a part that is not made here; None if it is.
    ``given`` is from before its plug-ins were loaded."""
    found = getattr(given, part)
    if found is not None:
        return type(found).__name__
    kind: str = getattr(config, part).kind
    return kind.removeprefix(PLUGIN) if kind.startswith(PLUGIN) else None


def _with_plugin(config: Config, given: Given, part: str) -> Given:
    section = getattr(config, part)
    if getattr(given, part) is not None or not section.kind.startswith(PLUGIN):
        return given
    loaded = _load(part, section.kind.removeprefix(PLUGIN), section.options)
    return replace(given, **{part: loaded})


def _load(part: str, name: str, options: dict[str, Any]) -> Any:
    installed = entry_points(group=GROUPS[part])
    if name not in installed.names:
        known = ", ".join(sorted(installed.names)) or "none"
        raise ConfigError(f"{part}.kind: no plug-in {name!r} in {GROUPS[part]}; installed: {known}")
    try:
        loader = installed[name].load()
        inspect.signature(loader).bind(**options)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{part}.kind: plug-in {name!r} cannot be imported: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{part}.options: plug-in {name!r}: {error}") from error
    try:
        return loader(**options)
    except ValueError as error:
        raise ConfigError(f"{part}.options: plug-in {name!r}: {error}") from error
