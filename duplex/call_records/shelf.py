"""The folder that recordings are kept in: their names, which there are, and which are deleted."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from duplex.call_records.journal import CallRecord
from duplex.call_records.recording import LINES, PART, RECORD, SOUND, VTT
from duplex.call_records.transcript import Line
from duplex.config import RecordingConfig

FILES = {
    SOUND: "audio/flac",
    VTT: "text/vtt; charset=utf-8",
    LINES: "application/jsonl; charset=utf-8",
    RECORD: "application/json",
}
"""What may be asked for of a recording, and its type."""

_GONE = ".gone"  # a folder that is being deleted
_ID = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9-]{1,64}")
_DAY_S = 86_400


def new_id(call_id: str, began_s: float) -> str:
    """Return the name of a recording: they sort by time. The last digits tell the calls of several
    servers apart."""
    began = datetime.fromtimestamp(began_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    plain = re.sub(r"[^A-Za-z0-9]+", "-", call_id)[:40].strip("-")
    return f"{began}-{plain}-{secrets.token_hex(3)}"


class Shelf:
    """One. Its methods read and write files; those that name a recording return None, or False, if
    there is none of that name."""

    def __init__(self, config: RecordingConfig, now_s: Callable[[], float] = time.time) -> None:
        """
        Raises:
            OSError: the folder cannot be made, or nothing can be written there.
        """
        self.path = Path(config.dir).expanduser()
        self._config = config
        self._now_s = now_s
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(f"nothing can be written into {self.path}")

    def ids(self) -> list[str]:
        """Return the names of all that are whole, the newest first."""
        with os.scandir(self.path) as entries:
            found = [entry.name for entry in entries if _ID.fullmatch(entry.name)]
        return sorted(found, reverse=True)

    def parts(self) -> list[Path]:
        """Return the folders of recordings that are not finished."""
        return sorted(self.path.glob(f"*{PART}"))

    def record(self, record_id: str) -> CallRecord | None:
        """Return what is told of one."""
        folder = self._folder(record_id)
        if folder is None:
            return None
        try:
            return msgspec.json.decode((folder / RECORD).read_bytes(), type=CallRecord)
        except (OSError, msgspec.DecodeError):
            return None

    def lines(self, record_id: str) -> list[Line] | None:
        """Return its transcript."""
        folder = self._folder(record_id)
        if folder is None:
            return None
        lines = (folder / LINES).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Line) for line in lines]

    def file(self, record_id: str, name: str) -> Path | None:
        """Return the path of one of its `FILES`."""
        folder = self._folder(record_id)
        if folder is None or name not in FILES or not (folder / name).is_file():
            return None
        return folder / name

    def delete(self, record_id: str) -> bool:
        """Delete one, whole."""
        folder = self._folder(record_id)
        if folder is None:
            return False
        gone = folder.with_name(folder.name + _GONE)
        try:
            folder.rename(gone)  # it is not half there at any time
        except FileNotFoundError:  # somebody else does
            return False
        shutil.rmtree(gone)
        return True

    def clear(self) -> int:
        """Delete what is older, or more, than is to be kept. Returns how many that were."""
        for gone in self.path.glob(f"*{_GONE}"):
            shutil.rmtree(gone, ignore_errors=True)
        ids = self.ids()
        return sum(map(self.delete, {*self._too_old(ids), *self._too_many(ids)}))

    def _too_old(self, ids: Iterable[str]) -> list[str]:
        if not self._config.keep_days:
            return []
        oldest = datetime.fromtimestamp(self._now_s() - self._config.keep_days * _DAY_S, UTC)
        return [record_id for record_id in ids if record_id < oldest.strftime("%Y%m%dT%H%M%SZ")]

    def _too_many(self, newest_first: Iterable[str]) -> list[str]:
        if not self._config.max_bytes:
            return []
        left = self._config.max_bytes - sum(_size(part) for part in self.parts())
        surplus = []
        for record_id in newest_first:
            left -= _size(self.path / record_id)
            if left < 0:
                surplus.append(record_id)
        return surplus

    def _folder(self, record_id: str) -> Path | None:
        if not _ID.fullmatch(record_id):
            return None
        folder = self.path / record_id
        return folder if folder.is_dir() else None


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except FileNotFoundError:  # it was deleted, or renamed, meanwhile
        return 0
