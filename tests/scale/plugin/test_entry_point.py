"""vLLM finds the installed plugin by itself."""

import subprocess
import sys

import pytest

pytest.importorskip("vllm", reason="`make test-scale` installs vllm")

pytestmark = pytest.mark.scale

CODE = """
import vllm.plugins
vllm.plugins.load_general_plugins()
vllm.plugins.plugins_loaded = False
vllm.plugins.load_general_plugins()
from vllm import ModelRegistry
known = ModelRegistry.get_supported_archs()
print({"StepAudio2ForCausalLM", "StepAudioForCausalLMV2"} <= set(known))
"""


def test_found_by_a_fresh_process() -> None:
    """By the entry point, not the path; registering it twice goes without a word."""
    found = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd="/"
    )
    assert found.stdout.splitlines()[-1] == "True"
    assert "overwritten" not in found.stderr
