"""Models that are removed, packed into a file, and installed from it; no network."""

import io
import tarfile
from pathlib import Path

import msgspec
import pytest

from duplex.errors import ModelError
from duplex.model_store import ModelStore, Progress
from duplex.model_store.pack import INDEX, Index
from duplex.model_store.stamp import Stamp
from tests.duplex.model_store.test_store import (
    EAR,
    VOICE,
    Registry,
    installed,
    make_store,
    status_of,
    visible,
    write_files,
)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def store(tmp_path: Path, registry: Registry) -> ModelStore:
    return make_store(tmp_path, registry)


def build(target: Path, progress: Progress) -> None:
    (target / "made").write_bytes(b"of it")


def built(store: ModelStore) -> list[str]:
    return sorted(path.name for path in (store.root / "derived").glob("*"))


# What is made of a folder of somebody's own


@pytest.mark.parametrize("form", ["path:{}", "{}"])
def test_what_is_made_of_a_folder_lies_in_the_cache_not_beside_it(
    store: ModelStore, tmp_path: Path, form: str
) -> None:
    own = write_files(tmp_path / "own" / "my model", {"model.gguf": b"1"})
    ref = form.format(own)
    made = store.derived(f"{ref}-onnx", "1", [ref], build)
    assert made.parent == store.root / "derived"
    assert made.name.startswith("own-my-model-onnx-") or "own-my-model-onnx" in made.name
    assert [path.name for path in own.parent.iterdir()] == ["my model"]
    assert [path.name for path in own.iterdir()] == ["model.gguf"]
    other = write_files(tmp_path / "own" / "my-model", {"model.gguf": b"2"})
    assert store.derived(f"path:{other}-onnx", "1", [f"path:{other}"], build) != made


def test_a_file_in_place_of_a_folder_is_told(store: ModelStore, tmp_path: Path) -> None:
    write_files(tmp_path, {"model.gguf": b"1"})
    with pytest.raises(ModelError, match=r"model\.gguf is a file: name the directory"):
        store.ensure([f"path:{tmp_path}/model.gguf"])


def test_a_name_that_is_nearly_right_is_found(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="did you mean 'voice'"):
        store.ensure(["voices"])


# Removing


def test_a_model_goes_with_what_was_made_of_it(store: ModelStore) -> None:
    store.ensure(["ear", "voice"])
    store.derived("voice-split", "1", ["voice"], build)
    assert {row.name for row in store.remove("voice")} == {"voice", "voice-split"}
    assert (installed(store), built(store)) == (["ear"], [])
    assert status_of(store, "voice").state == "missing"


def test_what_was_made_goes_alone(store: ModelStore) -> None:
    store.derived("voice-split", "1", ["voice"], build)
    store.remove("voice-split")
    assert (installed(store), built(store)) == (["voice"], [])


def test_what_is_not_there_is_not_removed(store: ModelStore) -> None:
    store.ensure(["ear"])
    with pytest.raises(ModelError, match="no model 'voice' is installed; installed: ear"):
        store.remove("voice")


def test_a_folder_of_somebodys_own_is_never_removed(store: ModelStore, tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {"model.gguf": b"1"})
    store.derived(f"path:{own}-onnx", "1", [f"path:{own}"], build)
    store.remove(f"path:{own}")
    assert built(store) == []
    assert (own / "model.gguf").is_file()


def test_only_what_is_not_needed_is_pruned(store: ModelStore, tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {"model.gguf": b"1"})
    store.ensure(["ear", "voice"])
    store.derived("voice-split", "1", ["voice"], build)
    kept = store.derived(f"path:{own}-onnx", "1", [f"path:{own}"], build)
    (store.root / "wheels" / "left.part").mkdir()
    wanted = ["ear", f"path:{own}"]
    assert {row.name for row in store.unused(wanted)} == {"voice", "voice-split"}
    store.prune(wanted)
    assert (installed(store), built(store)) == (["ear"], [kept.name])
    assert not (store.root / "wheels").exists()
    assert store.prune(wanted) == []


# Packing


def test_a_pack_installs_without_network(
    store: ModelStore, tmp_path: Path, registry: Registry
) -> None:
    pack = tmp_path / "models.tar"
    assert store.pack(pack, ["ear", "voice"]) == ["ear", "voice"]
    fresh = make_store(tmp_path / "elsewhere", registry)
    registry.asked.clear()
    assert fresh.install_pack(pack) == ["ear", "voice"]
    fresh.ensure(["ear", "voice"])
    assert visible(fresh.path("ear")) == EAR
    assert visible(fresh.path("voice")) == VOICE
    assert status_of(fresh, "ear").state == "verified"
    assert registry.asked == []


def test_a_model_of_the_hub_is_packed_too(tmp_path: Path, registry: Registry) -> None:
    source = "hub:org/llm"
    store = make_store(tmp_path, registry, hub={"w.bin": b"1", "sub/tok.json": b"2"})
    store.pack(tmp_path / "models.tar", [source])
    fresh = make_store(tmp_path / "elsewhere", registry)
    registry.asked.clear()
    fresh.install_pack(tmp_path / "models.tar")
    fresh.ensure([source])
    assert visible(fresh.path(source)) == {"w.bin": b"1", "sub/tok.json": b"2"}
    assert registry.asked == []


def test_a_pack_with_a_changed_file_installs_nothing_of_it(
    store: ModelStore, tmp_path: Path, registry: Registry
) -> None:
    pack = tmp_path / "models.tar"
    store.pack(pack, ["ear"])
    pack.write_bytes(pack.read_bytes().replace(EAR["model.bin"], EAR["model.bin"].upper()))
    fresh = make_store(tmp_path / "elsewhere", registry)
    with pytest.raises(ModelError, match=r"model ear: model\.bin in the pack is not"):
        fresh.install_pack(pack)
    assert installed(fresh) == []


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def index(name: str, file: str, size: int = 1) -> bytes:
    stamp = {"size": size, "mtime_ns": 0, "sha256": "0" * 64}
    models = {name: msgspec.convert({"origin": "hub:a/b", "files": {file: stamp}}, Stamp)}
    return msgspec.json.encode(Index(models))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"x": b"1"}, "does not begin with"),
        ({INDEX: b"{"}, "is no pack"),
        ({INDEX: b'{"models": {}, "format": 2}'}, "another version"),
        ({INDEX: index("../up", "w")}, "leads elsewhere"),
        ({INDEX: index("m", "../w")}, "leads elsewhere"),
        ({INDEX: index("m", "/w")}, "leads elsewhere"),
        ({INDEX: index("m", "w").replace(b"hub:", b"ftp:")}, "not a model source"),
        ({INDEX: index("m", "w")}, "ends without m/w"),
        ({INDEX: index("m", "w"), "m/other": b"1"}, "ends without m/w"),
        ({INDEX: index("m", "w"), "m/w": b"1"}, "is not the expected file"),
        ({INDEX: index("m", "w", 10**15)}, "make room"),
    ],
)
def test_what_is_no_good_pack_is_told_and_leaves_nothing(
    store: ModelStore, tmp_path: Path, files: dict[str, bytes], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        store.install_pack(tar(tmp_path / "models.tar", files))
    assert installed(store) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"models.tar", "store"}


def test_what_cannot_be_read_or_written_is_told(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        store.install_pack(tmp_path / "none.tar")
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(ModelError, match="is no pack of models"):
        store.install_pack(tmp_path / "text")
    with pytest.raises(ModelError, match="cannot write"):
        store.pack(tmp_path / "no" / "models.tar", ["voice"])
