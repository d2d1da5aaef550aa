"""Kernels are compiled for an H100 without one: their resources, and that `warm` misses none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["r1-32b", "mini-7b"])
def test_every_variant_compiles_for_an_h100_before_the_first_call(
    model: str, tmp_path: Path
) -> None:
    # A process of its own: in this one Triton interprets.
    out = tmp_path / "compiled.json"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run(
        [sys.executable, "-m", "benchmarks.native.compiled", "--model", model, "--json", str(out)],
        check=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
    )
    servers = json.loads(out.read_text("utf-8"))["servers"]
    assert len(servers) == 3
    for server, variants in servers.items():
        assert len(variants) >= 25, server
        for variant in variants:
            assert variant["phase"] == "warm", (server, variant)
            assert variant["stack_bytes"] == 0, (server, variant)
            assert variant["registers"] <= 255
            assert variant["shared_bytes"] <= 232_448
