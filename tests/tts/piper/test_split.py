from pathlib import Path

import pytest

from tts.piper.split import CONFIG_FILE, FLOW_FILE, TEXT_FILE, VOCODER_FILE, split


def test_writes_the_parts_and_reports_progress(tiny_source: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    target = tmp_path / "new" / "voice"
    split(tiny_source, target, seen.append)
    files = {path.name for path in target.iterdir()}
    assert files == {TEXT_FILE, FLOW_FILE, VOCODER_FILE, CONFIG_FILE}
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_fills_an_empty_directory(tiny_source: Path, tmp_path: Path) -> None:
    split(tiny_source, tmp_path / "voice")
    target = tmp_path / "other"
    target.mkdir()
    split(tiny_source, target)
    assert len(list(target.iterdir())) == 4


def test_leaves_a_full_directory_alone(tiny_source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        split(tiny_source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_leaves_nothing_behind_when_the_configuration_is_missing(
    tiny_source: Path, tmp_path: Path
) -> None:
    lone = tmp_path / "lone.onnx"
    lone.write_bytes(tiny_source.read_bytes())
    with pytest.raises(FileNotFoundError):
        split(lone, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["lone.onnx"]


def test_says_when_the_graph_is_not_a_piper_voice(tiny_voice_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a Piper voice"):
        split(tiny_voice_dir / VOCODER_FILE, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
