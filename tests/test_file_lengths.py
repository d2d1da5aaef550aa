"""No file is longer than a reader takes in at a time."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMITS = {  # lines
    "duplex": 400,
    "engine": 400,
    "tts": 400,
    "client": 400,
    "training": 400,
    "benchmarks": 400,
    "examples": 400,
    "plugins": 400,
    "tests": 650,
}


@pytest.mark.parametrize(("folder", "limit"), LIMITS.items())
def test_no_file_is_too_long(folder: str, limit: int) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {path: lines for path, lines in lengths.items() if lines > limit} == {}
