"""What models there are and in what state; only reads."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from duplex.errors import ModelError
from duplex.model_store.manifest import Model
from duplex.model_store.progress import Progress
from duplex.model_store.source import LocalSource, PackageSource, Source, parse_source
from duplex.model_store.stamp import STAMP_NAME, Stamp, digest_of, find_damage, read_stamp
from duplex.toml_file import did_you_mean

_SHOWN_CHARS = 60  # of a source's text in a directory's name

State = Literal["missing", "installed", "verified", "damaged", "built", "stale"]
"""``installed``: there, but no published hash to compare with. ``verified``: every file is as
the manifest says. ``built``, ``stale``: derived from other models as they are, or were."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of ``duplex models``. ``size`` is in bytes: on disk, or to be if missing."""

    name: str
    state: State
    source: str
    license: str
    size: int
    path: Path
    detail: str  # what is wrong with it; empty if nothing is
    inputs: tuple[str, ...] = ()  # what it was made of, if it was


@dataclass(frozen=True, slots=True)
class Entry:
    """A name, where it comes from and, if the manifest knows it, what it must be."""

    name: str
    source: Source
    model: Model | None
    path: Path
    stamp_path: Path

    def usable(self, state: State) -> bool:
        return state == "verified" or (state == "installed" and self.model is None)


class Catalog:
    """The manifest, the configured sources and what lies under ``root``.

    Raises:
        ValueError: a key of ``sources`` cannot be a model's name.
    """

    def __init__(
        self, root: Path, manifest: Mapping[str, Model], sources: Mapping[str, Source]
    ) -> None:
        for name in sources:
            if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
                raise ValueError(f"{name!r} cannot be the name of a model")
        self._root = root
        self._manifest = manifest
        self._sources = sources

    def resolve(self, ref: str) -> Entry:
        """Find what ``ref`` means: a configured name, a name of the manifest or a source.

        Raises:
            ModelError: nothing; the message lists the names.
        """
        source = self._sources.get(ref)
        if source is None:
            try:
                source = parse_source(ref)
            except ValueError as error:
                raise ModelError(str(error)) from error
            name = _directory_name(source)
        else:
            name = ref
        model = self._manifest.get(source.name if isinstance(source, PackageSource) else name)
        if isinstance(source, PackageSource):
            if model is None:
                names = [*self._manifest, *self._sources]
                raise ModelError(
                    f"no model is called {source.name!r}{did_you_mean(source.name, names) or ';'} "
                    f"known: {', '.join(names)}; or write hub:org/name, or path:DIR for a "
                    "directory of yours"
                )
            name = source.name
        if isinstance(source, LocalSource):
            path = source.path.absolute()
            key = hashlib.sha256(f"{name}\n{path}".encode()).hexdigest()[:16]
            return Entry(name, source, model, path, self._root / "local" / f"{key}.json")
        path = self._root / "models" / name
        return Entry(name, source, model, path, path / STAMP_NAME)

    def known(self, name: str) -> Model | None:
        """What the manifest says of a name."""
        return self._manifest.get(name)

    def inspect(
        self, entry: Entry, progress: Progress | None = None, *, rehash: bool = False
    ) -> tuple[State, str]:
        """The state of ``entry`` and, unless it is as it should be, what is wrong."""
        if not entry.path.is_dir():
            return "missing", "not installed"
        stamp = read_stamp(entry.stamp_path)
        if isinstance(entry.source, LocalSource) and (stamp is None or entry.model is None):
            # The owner may change it at will, unless it is to be a model that we know.
            return "installed", "not checked yet" if entry.model else ""
        if stamp is None:
            return "damaged", "not completely installed"
        size = sum(file.size for file in stamp.files.values())
        progress = progress or Progress(None)
        with progress.task(f"checking {entry.name}", size if rehash else None) as task:
            damage = find_damage(entry.path, stamp, rehash=rehash, on_bytes=task.advance)
        if damage is not None:
            return "damaged", damage
        if entry.model is not None:
            if stamp.hashes == entry.model.hashes:
                return "verified", ""
            return "damaged", "another version than the manifest's"
        if stamp.origin != str(entry.source):
            return "damaged", f"from {stamp.origin}, not {entry.source}"
        return "installed", ""

    def is_built(self, directory: Path, recipe: str, inputs: Mapping[str, str]) -> bool:
        """Whether a derived directory is whole and was made so from these (model -> digest)."""
        stamp = read_stamp(directory / STAMP_NAME)
        made_so = stamp is not None and stamp.recipe == recipe and stamp.inputs == inputs
        return made_so and stamp is not None and find_damage(directory, stamp) is None

    def status(self) -> list[ModelStatus]:
        """All models known or installed, then those derived from them, as their stamps say."""
        entries = [self.resolve(n) for n in dict.fromkeys([*self._manifest, *self._sources])]
        shown = {entry.path for entry in entries}
        for stamp_path in sorted((self._root / "models").glob(f"*/{STAMP_NAME}")):
            stamp, path = read_stamp(stamp_path), stamp_path.parent
            if path not in shown and stamp is not None:
                source = parse_source(stamp.origin)
                entries.append(Entry(path.name, source, None, path, stamp_path))
        derived = sorted((self._root / "derived").glob(f"*/{STAMP_NAME}"))
        rows = [self._row(entry) for entry in dict.fromkeys(entries)]
        return rows + [
            self._derived_row(path.parent, stamp)
            for path in derived
            if (stamp := read_stamp(path)) is not None
        ]

    def _row(self, entry: Entry) -> ModelStatus:
        state, detail = self.inspect(entry)
        stamp = read_stamp(entry.stamp_path)
        size = entry.model.size if entry.model is not None else 0
        if stamp is not None:
            size = sum(file.size for file in stamp.files.values())
        # What is there may have come from elsewhere than it would be fetched from now.
        source = str(entry.source) if stamp is None else stamp.origin
        if entry.model is not None and source.startswith("package:"):
            first, *more = entry.model.requirements
            source = f"package:{first}" + (f" and {len(more)} more" if more else "")
        return ModelStatus(
            name=entry.name,
            state=state,
            source=source,
            license=entry.model.license if entry.model is not None else "its own",
            size=size,
            path=entry.path,
            detail="" if state == "missing" else detail,
        )

    def _derived_row(self, path: Path, stamp: Stamp) -> ModelStatus:
        damage = find_damage(path, stamp)
        changed = [
            name
            for name, digest in stamp.inputs.items()
            if (model := self._manifest.get(name)) and digest_of(model.hashes) != digest
        ]
        state: State = "damaged" if damage else "stale" if changed else "built"
        return ModelStatus(
            name=path.name,
            state=state,
            source="derived:" + "+".join(stamp.inputs),
            license="as its source",
            size=sum(file.size for file in stamp.files.values()),
            path=path,
            detail=damage or (f"{', '.join(changed)} changed since" if changed else ""),
            inputs=tuple(stamp.inputs),
        )


def directory_name(name: str) -> str:
    """A name that may be that of one directory: a source's text is cut to its last words and told
    from others by its hash."""
    if re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        return name
    words = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[-_SHOWN_CHARS:].lstrip("-.")
    return f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _directory_name(source: Source) -> str:
    if isinstance(source, PackageSource):
        return source.name
    if isinstance(source, LocalSource):
        return str(source.path)
    key = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    return f"{source.repo.replace('/', '--')}-{key}"
