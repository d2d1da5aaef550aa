"""What was checked, and when: so that starting up does not hash a gigabyte.

A stamp records the size, modification time and sha256 of every file of a directory. A file
whose size and time are as recorded is taken to be as it was; one whose time differs (a copied
cache, for example) is hashed again.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

STAMP_NAME = ".stamp.json"
_BLOCK_BYTES = 1 << 20
_NS = 10**9


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was when it was hashed."""

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
    inputs: dict[str, str] = field(default_factory=dict)

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


def list_files(directory: Path) -> list[str]:
    """Relative paths of all files, sorted; hidden files and directories are left out."""
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(p.as_posix() for p in paths if not any(x.startswith(".") for x in p.parts))


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Hash a file; ``on_bytes`` is called with the size of each block that is read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            if on_bytes is not None:
                on_bytes(len(block))
    return digest.hexdigest()


def stamp_files(
    directory: Path,
    names: Iterable[str],
    known: Mapping[str, str] | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> dict[str, FileStamp]:
    """Stamp these files; those in ``known`` (path -> sha256) were hashed as they were written.

    Raises:
        FileNotFoundError: one of them is not there.
    """
    stamps = {}
    for name in names:
        path = directory / name
        sha256 = (known or {}).get(name) or sha256_file(path, on_bytes)
        status = path.stat()
        stamps[name] = FileStamp(status.st_size, status.st_mtime_ns, sha256)
    return stamps


def settle_times(directory: Path) -> None:
    """Round modification times to seconds: archives and image layers keep no more."""
    for name in list_files(directory):
        path = directory / name
        seconds = path.stat().st_mtime_ns // _NS
        os.utime(path, ns=(seconds * _NS, seconds * _NS))


def find_damage(
    directory: Path,
    stamp: Stamp,
    *,
    rehash: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> str | None:
    """The first file that is not as stamped, in words, or None. ``rehash`` reads all files."""
    for name, expected in stamp.files.items():
        path = directory / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{name} is missing"
        if status.st_size != expected.size:
            return f"{name} has {status.st_size} bytes, expected {expected.size}"
        if rehash or status.st_mtime_ns != expected.mtime_ns:
            actual = sha256_file(path, on_bytes)
            if actual != expected.sha256:
                return f"{name} has sha256 {actual}, expected {expected.sha256}"
    return None


def renew_times(directory: Path, stamp_path: Path) -> None:
    """Record the present times of files that `find_damage` found to be as stamped, so that a
    copied cache is not hashed at every start. Does nothing where it may not write."""
    stamp = read_stamp(stamp_path)
    if stamp is None or not os.access(stamp_path.parent, os.W_OK):
        return
    files = stamp_files(directory, stamp.files, stamp.hashes)
    if files != stamp.files:
        write_stamp(stamp_path, replace(stamp, files=files))


def digest_of(hashes: Mapping[str, str]) -> str:
    """One hash for a set of files (path -> sha256), whatever their order."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
