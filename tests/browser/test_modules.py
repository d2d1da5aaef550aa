"""The parts of the page that need no browser, under Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

MODULES = Path(__file__).parent / "modules"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="there is no Node")
@pytest.mark.parametrize("path", sorted(MODULES.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_module(path: Path) -> None:
    ran = subprocess.run([str(NODE), "--test", str(path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
