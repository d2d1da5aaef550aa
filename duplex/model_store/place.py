"""The directory under which models are kept: one process writes at a time, and what it writes
appears whole or not at all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from duplex.errors import ModelError
from duplex.model_store.progress import Progress

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class Place:
    """Below ``root``: ``models/NAME`` and ``derived/NAME``, each complete with its stamp or not
    there at all; ``incoming`` and ``wheels``, whose contents matter only to the process that
    holds the lock; ``local``, the stamps of directories that are used in place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "models"
        self.built = root / "derived"
        self.wheels = root / "wheels"
        self.local = root / "local"
        self._incoming = root / "incoming"
        self._lock = filelock.FileLock(root / ".lock")

    @contextmanager
    def incoming(self, final: Path) -> Iterator[Path]:
        """An empty directory that takes the place of ``final`` if the block succeeds."""
        target = self._incoming / final.name
        target.mkdir(parents=True)
        try:
            yield target
            final.parent.mkdir(exist_ok=True)
            if final.exists():
                final.rename(self._incoming / f"{final.name}.old")
            target.rename(final)
        finally:
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(self._incoming / f"{final.name}.old", ignore_errors=True)

    def discard(self, path: Path) -> None:
        """Remove a directory or a file; what is being removed is never half there."""
        self._incoming.mkdir(exist_ok=True)
        gone = self._incoming / f"{path.name}.gone"
        path.rename(gone)
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()

    @contextmanager
    def exclusive(self, progress: Progress) -> Iterator[None]:
        """Hold the lock; entered again by the same thread, it is held already.

        Raises:
            ModelError: the directory cannot be written, or its disk is full.
        """
        nested = self._lock.is_locked
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"cannot store models in {self.root}: {error}") from error
        try:
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                with progress.task("waiting for another process that installs models"):
                    self._lock.acquire()
            try:
                if not nested:  # left by a process that was killed
                    shutil.rmtree(self._incoming, ignore_errors=True)
                yield
            finally:
                self._lock.release()
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            raise ModelError(f"cannot store models in {self.root}: {error}") from error

    def check_room(self, needed: int) -> None:
        """
        Raises:
            ModelError: the disk has not so many bytes left.
        """
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise ModelError(
                f"the models need {needed / 1e9:.1f} GB in {self.root}, but its disk has "
                f"{free / 1e9:.1f} GB free: make room, or set models.cache_dir to another disk"
            )
