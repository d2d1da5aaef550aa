"""Where a model is taken from, as written in the configuration."""

import re
from dataclasses import dataclass
from pathlib import Path

_HUB = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^#\s]+))?(#(?P<pattern>\S+))?", re.ASCII
)
_PACKAGE = re.compile(r"\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A model of the manifest, from the Python packages that ship its files."""

    name: str

    def __str__(self) -> str:
        return f"package:{self.name}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub.

    ``revision`` is a branch, tag or commit (None: the main branch); ``pattern`` limits what is
    fetched (None: all), as in ``en/en_US/joe/medium/*``.
    """

    repo: str
    revision: str | None = None
    pattern: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hub:{self.repo}{revision}" + (f"#{self.pattern}" if self.pattern else "")


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A directory of this machine, used where it is."""

    path: Path

    def __str__(self) -> str:
        return f"path:{self.path}"


Source = PackageSource | HubSource | LocalSource


def parse_source(text: str) -> Source:
    """Read ``whisper-base``, ``package:whisper-base``, ``hub:org/name@revision#pattern``,
    ``path:some/dir``, ``/some/dir``, ``./dir`` or ``~/dir``.

    Raises:
        ValueError: it is none of these; the message says what to write.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "path" and rest:
        return LocalSource(Path(rest).expanduser())
    if colon and kind == "hub" and (match := _HUB.fullmatch(rest)):
        return HubSource(**match.groupdict())
    name = rest if colon and kind == "package" else text
    if _PACKAGE.fullmatch(name):
        return PackageSource(name)
    if text.startswith(("./", "../", "~")) or Path(text).is_absolute():
        return LocalSource(Path(text).expanduser())
    raise ValueError(
        f"{text!r} is not a model source: write a model's name, "
        '"hub:org/name" or "hub:org/name@revision" for a hub, "path:DIR" for a directory'
    )
