"""Rows of a data set: of parquet, JSON lines or JSON files, in a folder or from the hub.

Sound is decoded when it is asked for. A row of a parquet file has it inside; a row of a JSON file
names a file.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from client.evaluation.items import RATE_HZ, Samples, Sound
from duplex.audio.files import decode_sound
from duplex.audio.resample import resample

SUFFIXES = (".parquet", ".jsonl", ".json")
READ_WITH = "parquet files need pyarrow: pip install 'duplex-r1[eval]'"
MEDIA = ("*.parquet", "*.jsonl", "*.json", "*.wav", "*.mp3", "*.flac", "*.ogg", "*.opus")

Load = Callable[[], tuple[bytes, str]]  # a recording's file, and what to call it


@dataclass(frozen=True, slots=True)
class Row:
    """``values`` are its columns without sound; ``sounds`` gives those with."""

    number: int  # in its file, from 0
    file: str  # relative to the data's folder
    values: Mapping[str, Any]
    sounds: Mapping[str, Load]

    def text(self, *names: str) -> str:
        """The first of the columns that is there, as text; also the ``text`` within a column.

        Raises:
            ValueError: none is there.
        """
        for name in names:
            value = self.values.get(name)
            if isinstance(value, Mapping):
                value = value.get("text")
            if value is not None:
                return str(value)
        raise ValueError(f"{self.file}, row {self.number}: there is no column {' or '.join(names)}")

    def sound(self, *names: str, words: str = "") -> Sound:
        """The first of the columns that holds sound, or names a file.

        Raises:
            ValueError: none does.
        """
        for name in names:
            if name in self.sounds:
                return Sound(partial(_decoded, self.sounds[name]), words)
        wanted = " or ".join(names)
        raise ValueError(f"{self.file}, row {self.number}: there is no sound in {wanted}")

    def has(self, name: str) -> bool:
        """Whether the column is there and not empty."""
        return self.values.get(name) not in (None, "", [])


def data_folder(source: str, files: Sequence[str] = ()) -> Path:
    """A folder as it is, or a data set's name on the hub, which is fetched.

    Raises:
        ValueError: there is neither; the message has the hub's words.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if source.count("/") != 1 or source.startswith((".", "~", "/")):
        raise ValueError(f"--data {source}: there is no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = list(files or MEDIA)
        return Path(snapshot_download(source, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{source} cannot be fetched from the hub: {error}") from error


def read_rows(folder: Path, patterns: Sequence[str]) -> Iterator[Row]:
    """All rows of the files that match one of the ``patterns``, in the files' order.

    Raises:
        ValueError: there is no such file, or one is not what it should be.
        OSError: a file cannot be read.
    """
    found = sorted(
        {
            path
            for pattern in patterns
            for path in folder.rglob(pattern)
            if path.suffix in SUFFIXES and not path.name.startswith(".")
        }
    )
    if not found:
        raise ValueError(f"{folder} has no file {' or '.join(patterns)}")
    for path in found:
        read = _parquet_rows if path.suffix == ".parquet" else _json_rows
        yield from read(folder, path)


def _json_rows(folder: Path, path: Path) -> Iterator[Row]:
    name = str(path.relative_to(folder))
    try:
        if path.suffix == ".jsonl":
            lines = path.read_text("utf-8").splitlines()
            entries = [json.loads(line) for line in lines if line.strip()]
        else:
            entries = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is no JSON: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{name} is no list of rows")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{name}, row {number}: it is no table of columns")
        named = {  # some name their one file in a list
            column: value[0] if isinstance(value, list) and len(value) == 1 else value
            for column, value in entry.items()
        }
        sounds = {
            column: _in_file(folder, path, value)
            for column, value in named.items()
            if isinstance(value, str) and Path(value).suffix.lower() in _SOUND_SUFFIXES
        }
        yield Row(number, name, entry, sounds)


_SOUND_SUFFIXES = {pattern[1:] for pattern in MEDIA[3:]}


def _in_file(folder: Path, path: Path, named: str) -> Load:
    """A file that a row names: beside the rows' file, in the data's folder, or by its mere name
    somewhere in it. Names do not lead out of the folder."""

    def load() -> tuple[bytes, str]:
        inside = folder.resolve()
        for base in (path.parent, folder):
            candidate = (base / named).resolve()
            if candidate.is_relative_to(inside) and candidate.is_file():
                return candidate.read_bytes(), named
        found = sorted(folder.rglob(Path(named).name))
        if not found:
            raise ValueError(f"{path.name} names {named}, which is not in {folder}")
        return found[0].read_bytes(), named

    return load


def _parquet_rows(folder: Path, path: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(READ_WITH) from error
    from pyarrow.lib import ArrowException

    name = str(path.relative_to(folder))
    try:
        file = parquet.ParquetFile(path)
        heard = [field.name for field in file.schema_arrow if _holds_sound(field.type)]
        plain = [field.name for field in file.schema_arrow if field.name not in heard]
        number = 0
        for group in range(file.num_row_groups):
            for within, values in enumerate(_group(path, group, tuple(plain))):
                sounds = {column: _in_group(path, group, within, column) for column in heard}
                yield Row(number, name, values, sounds)
                number += 1
    except ArrowException as error:
        raise ValueError(f"{name} is no parquet file that can be read: {error}") from error


def _holds_sound(type_: Any) -> bool:
    """The hub's audio feature: a struct of a file's bytes and its path."""
    from pyarrow import types

    return types.is_struct(type_) and {field.name for field in type_} >= {"bytes", "path"}


def _group(path: Path, group: int, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    import pyarrow.parquet as parquet

    if not columns:
        rows = parquet.ParquetFile(path).metadata.row_group(group).num_rows
        return [{} for _ in range(rows)]
    table = parquet.ParquetFile(path).read_row_group(group, columns=list(columns))
    rows_: list[dict[str, Any]] = table.to_pylist()
    return rows_


@lru_cache(maxsize=2)  # a group may be hundreds of MB; items are asked in the order of their files
def _sound_group(path: Path, group: int, column: str) -> list[dict[str, Any]]:
    return _group(path, group, (column,))


def _in_group(path: Path, group: int, within: int, column: str) -> Load:
    def load() -> tuple[bytes, str]:
        value = _sound_group(path, group, column)[within][column] or {}
        name = f"{path.name}, row {within} of group {group}, {column}"
        if not value.get("bytes"):
            raise ValueError(f"{name}: it has no sound")
        return value["bytes"], name

    return load


def _decoded(load: Load) -> Samples:
    data, name = load()
    samples, rate_hz = decode_sound(io.BytesIO(data), name)
    return samples if rate_hz == RATE_HZ else resample(samples, rate_hz, RATE_HZ)
