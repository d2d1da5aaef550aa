"""`duplex models` with folders of its own; no network."""

from pathlib import Path

import pytest

from duplex.cli.main import command_line, main
from duplex.cli.options import config_of
from duplex.errors import DuplexError
from duplex.model_store import ModelStore, Progress


@pytest.fixture
def cache(tmp_path: Path) -> list[str]:
    return ["--set", f"models.cache_dir={tmp_path / 'cache'}"]


def make_something(tmp_path: Path) -> Path:
    """Something in the cache that was made of a folder of one's own."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.gguf").write_bytes(b"1")
    store = ModelStore(tmp_path / "cache")
    return store.derived(f"path:{own}-onnx", "1", [f"path:{own}"], lambda t, _: (t / "x").touch())


def test_what_is_not_needed_is_listed_then_removed(
    tmp_path: Path, cache: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_something(tmp_path)
    assert main(["models", "--unused", *cache]) == 0
    assert f"not needed: {made.name}" in capsys.readouterr().out
    assert made.is_dir()
    assert main(["models", "--prune", *cache]) == 0
    assert f"removed: {made.name}" in capsys.readouterr().out
    assert not made.exists()
    assert (tmp_path / "own" / "model.gguf").is_file()


def test_what_the_configuration_needs_is_not_pruned(tmp_path: Path, cache: list[str]) -> None:
    made = make_something(tmp_path)
    assert main(["models", "--prune", "--brain", f"path:{tmp_path / 'own'}", *cache]) == 0
    assert made.is_dir()


def test_a_name_that_is_not_there_is_told(
    cache: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--remove", "nothing", *cache]) == 1
    assert "no model 'nothing' is installed" in capsys.readouterr().err


def test_a_file_that_is_no_pack_is_told(
    tmp_path: Path, cache: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("no pack")
    assert main(["models", "--from", str(tmp_path / "notes"), *cache]) == 1
    assert "is no pack of models" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "bench"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_done(
    tmp_path: Path, cache: list[str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert main([command, "--out", str(out), *cache]) != 0
    assert f"--out {out}: " in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["brain.kind=huggingface"], 'brain.model = "qwen2.5-coder-0.5b" is a GGUF file'),
        (["brain.model=qwen2.5-coder-0.6b"], "did you mean 'qwen2.5-coder-0.5b'"),
        (["voice.model=hibari-hart"], "did you mean 'hibari-heart'"),
    ],
)
def test_a_model_that_cannot_be_is_told_before_any_download(
    tmp_path: Path,
    cache: list[str],
    options: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [word for option in options for word in ("--set", option)]
    assert main(["models", "--install", *settings, *cache]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("kind", ["native", "huggingface"])
def test_a_missing_package_is_told_with_its_extra(
    cache: list[str], kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duplex.app.needs.find_spec", lambda name: None)
    settings = ["--set", f"brain.kind={kind}", "--set", "brain.model=hub:org/name"]
    assert main(["models", "--install", *settings, *cache]) == 1
    assert f"pip install 'duplex-r1[{kind}]'" in capsys.readouterr().err


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    from duplex.app import build

    (tmp_path / "own").mkdir()
    options = ["models", "--brain", f"path:{tmp_path / 'own'}", "--set", "ear.kind=openai"]
    config = config_of(command_line().parse_args(options))
    store = ModelStore(tmp_path / "cache")
    with pytest.raises(DuplexError, match=r"own should hold one \*\.gguf file and holds 0"):
        build.load_brain(config, store, Progress(None))
