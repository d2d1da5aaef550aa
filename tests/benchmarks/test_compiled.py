"""Kernels are compiled for an H100 without one: their resources, and that `warm` misses none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_variant_compiles_for_an_h100_before_the_first_call(tmp_path: Path) -> None:
    # A process of its own: in this one Triton interprets.
    out = tmp_path / "compiled.json"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run(
        [sys.executable, "-m", "benchmarks.native.compiled", "--json", str(out)],
        check=True,
        cwd=ROOT,
        env=environment,
        timeout=280,
    )
    found = json.loads(out.read_text("utf-8"))["servers"]
    # The ear, with and without graphs, and two models in three precisions.
    assert len(found) == 1 + 2 * 3
    for part, variants in found.items():
        assert len(variants) >= (10 if part == "ear" else 19), part
        for variant in variants:
            assert variant["phase"] == "warm", (part, variant)
            assert variant["stack_bytes"] == 0, (part, variant)
            assert variant["registers"] <= 255
            assert variant["shared_bytes"] <= 232_448
