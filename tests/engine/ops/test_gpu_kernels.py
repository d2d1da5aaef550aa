"""The kernel benchmark runs: its cases, its checks, and what it does with a wrong kernel."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytestmark = pytest.mark.kernels

SOURCE = Path(__file__).parents[3] / "benchmarks" / "gpu_kernels.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_kernels", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_checks_every_kernel(bench: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "kernels.json"
    assert bench.main(["--check", "--out", str(out)]) == 0
    records = json.loads(out.read_text())["kernels"]["tiny"]
    assert {record["op"] for record in records} == {
        "rms_norm",
        "swiglu",
        "rope_and_cache",
        "decode",
        "decode_shared",
        "prefill",
        "encoder_chunk",
        "conv_stem",
        "adaptor",
        "quant_matvec_int8",
        "quant_matvec_int4",
        "dequantize_int8",
        "dequantize_int4",
    }
    assert all(record["ok"] for record in records)


def test_torch_equivalents_compute_the_same(bench: ModuleType, device: str) -> None:
    """Otherwise the comparison of times would be of different work."""
    draw = bench.Drawer(device, torch.float32)
    for case in bench.cases(draw, *bench.TINY, (1, 3), (40,), 40):
        given = case.make()
        if case.op.startswith("quant"):
            continue  # against the unrounded weight
        if case.op == "prefill" and case.shape["rows"] != case.shape["context"]:
            continue  # torch is spared the mask
        torch.testing.assert_close(
            case.torch(*given).flatten(), case.kernel(*given).flatten(), rtol=1e-3, atol=1e-4
        )


def test_a_wrong_kernel_gets_no_time(bench: ModuleType, device: str) -> None:
    draw = bench.Drawer(device, torch.float32)
    case = next(bench.cases(draw, *bench.TINY, (1,), (40,), 20))
    limits = bench.Ceilings(1e12, 1e15)
    for spoilt in (float("nan"), 1.5):
        wrong = dataclasses.replace(case, kernel=lambda *given, by=spoilt: case.kernel(*given) * by)
        record = bench.measure(wrong, limits)
        assert not record["ok"]
        assert "kernel_us" not in record
