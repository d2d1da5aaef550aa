"""Models in one file, for machines without a network.

A pack is a tar file: first an index with the stamps, then the files as ``NAME/PATH``. Nothing in it
decides where a file goes, and every file is checked against its hash as it is written: that of the
manifest, if the model is in it, else that of the index.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from duplex.errors import ModelError
from duplex.model_store.progress import Progress
from duplex.model_store.source import parse_source
from duplex.model_store.stamp import Stamp

INDEX = "duplex-models.json"
_FORMAT = 1
_MAX_INDEX_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 20
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_UNREADABLE = (tarfile.TarError, EOFError, msgspec.MsgspecError, UnicodeError)

Receive = Callable[[str, Stamp, Callable[[Path], None]], None]
"""``receive(name, stamp, write)`` makes a directory and has ``write`` fill it."""


class Index(msgspec.Struct, frozen=True):
    """What is in a pack."""

    models: dict[str, Stamp]
    format: int = _FORMAT


def write_pack(path: Path, models: Mapping[str, tuple[Path, Stamp]], progress: Progress) -> None:
    """Write the models, name -> directory and stamp, to ``path``; it appears whole or not at all.

    Raises:
        ModelError: it cannot be written.
    """
    index = msgspec.json.encode(Index({name: stamp for name, (_, stamp) in models.items()}))
    part = path.with_name(f"{path.name}.part")
    total = sum(file.size for _, stamp in models.values() for file in stamp.files.values())
    try:
        with tarfile.open(part, "w") as tar, progress.task(f"packing {path.name}", total) as task:
            _add(tar, INDEX, io.BytesIO(index), len(index))
            for name, (directory, stamp) in models.items():
                for file, known in stamp.files.items():
                    task.detail = f"{name}/{file}"
                    with (directory / file).open("rb") as source:
                        _add(tar, task.detail, source, known.size)
                    task.advance(known.size)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def open_pack(path: Path) -> Iterator[tuple[Index, tarfile.TarFile]]:
    """The index of a pack, and what `unpack` reads next.

    Raises:
        ModelError: it is no pack.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            yield _index(path, tar), tar
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise ModelError(_no_pack(path, str(error))) from error


def unpack(
    tar: tarfile.TarFile, name: str, hashes: Mapping[str, str], target: Path, progress: Progress
) -> None:
    """Write the files of model ``name``, path -> sha256, to ``target``. They are the pack's next.

    Raises:
        ModelError: a file is missing, or is not the expected one.
    """
    with progress.task(f"unpacking {name}") as task:
        left = dict(hashes)
        while left:
            member = tar.next()
            file = "" if member is None else member.name.removeprefix(f"{name}/")
            content = None if member is None else tar.extractfile(member)
            if content is None or file not in left:
                raise ModelError(f"the pack ends without {name}/{min(left)}")
            task.detail = file
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            found = _copy(content, target / file)
            if found != left.pop(file):
                raise ModelError(
                    f"model {name}: {file} in the pack is not the expected file: "
                    f"expected sha256 {hashes[file]}, found {found}"
                )


def _index(path: Path, tar: tarfile.TarFile) -> Index:
    member = tar.next()
    content = None if member is None else tar.extractfile(member)
    if member is None or content is None or member.name != INDEX:
        raise ModelError(_no_pack(path, f"it does not begin with {INDEX}"))
    index = msgspec.json.decode(content.read(_MAX_INDEX_BYTES), type=Index)
    if index.format != _FORMAT:
        raise ModelError(f"{path} was packed by another version of duplex (format {index.format})")
    for name, stamp in index.models.items():
        try:
            parse_source(stamp.origin)
        except ValueError as error:
            raise ModelError(_no_pack(path, str(error))) from error
        if not _NAME.fullmatch(name) or not all(map(_is_inside, stamp.files)):
            raise ModelError(_no_pack(path, f"{name!r} has a name that leads elsewhere"))
    return index


def _no_pack(path: Path, why: str) -> str:
    return f"{path} is no pack of models, as `duplex models --pack` writes: {why}"


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and path.as_posix() == file and not set(path.parts) & {"..", "."}


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, content)


def _copy(content: IO[bytes], path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as output:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
            output.write(block)
    return digest.hexdigest()
