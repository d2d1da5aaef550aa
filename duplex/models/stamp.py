"""What was checked, and when: so that starting up does not hash a gigabyte.

A stamp records the size, modification time and sha256 of every file of a directory. A file
whose size and time are as recorded is taken to be as it was; one whose time differs (a copied
cache, for example) is hashed again.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

STAMP_NAME = ".stamp.json"
_BLOCK_BYTES = 1 << 20
_NS = 10**9


@dataclass(frozen=True, slots=True)
class FileStamp:
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """``origin`` says where the files are from; ``recipe`` and ``inputs`` (model -> digest) are
    those of a derived directory, else empty. Paths in ``files`` are relative, with slashes."""

    origin: str
    files: dict[str, FileStamp]
    recipe: str = ""
    inputs: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """Path -> sha256."""
        return {name: file.sha256 for name, file in self.files.items()}


def read_stamp(path: Path) -> Stamp | None:
    """The stamp at ``path``, or None if there is none that can be read as one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stamp)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def write_stamp(path: Path, stamp: Stamp) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(stamp), indent=1))
    temporary.replace(path)
