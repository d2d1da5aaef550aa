"""What runs where."""

import subprocess
import sys

import pytest
import torch

from engine.ops import dispatch

pytestmark = pytest.mark.kernels


def test_torch_alone_serves_the_cpu() -> None:
    """No Triton is imported by the references, so the engine runs where there is none."""
    script = """
import sys
sys.modules["triton"] = None
import torch
from engine.ops import dispatch as d
x = torch.randn(2, 128)
d.rms_norm(x, x[0], 1e-5)
d.swiglu(x)
d.quant_matvec(x, d.quantize(x, 4))
cache = torch.randn(2, 1, 4, 16)
d.rope_and_cache(x, *torch.randn(2, 9, 8), *torch.tensor([[0, 1], [0, -1]]), cache, cache, 6)
one = torch.tensor([[0, 1], [0, 1]], dtype=torch.int32)
run = dict(causal=True, max_query=1, scale=1.0)
d.paged_attention(x.view(2, 8, 16)[:1], cache, cache, one[:1], one[0], one[0, 1:], **run)
w = torch.randn(4, 4, 3)
d.conv_stem(torch.randn(1, 4, 9), w, w[:, 0, 0], w, w[:, 0, 0], left_edge=True, right_edge=True)
m = w[:, :, 0]
d.adaptor(torch.randn(1, 9, 4), w, m[0], m, m[0], m, m[0], left_edge=True, right_edge=True)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_kept_kernels_are_operations() -> None:
    assert set(dispatch.__all__) >= dispatch.KEPT


@pytest.mark.gpu
def test_cuda_tensors_go_to_the_kernels() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x = torch.randn(3, 256, device="cuda", dtype=torch.bfloat16)
    quant = dispatch.quantize(x.float(), 8)
    graph = torch.cuda.CUDAGraph()
    warm = torch.cuda.Stream()
    with torch.cuda.stream(warm):  # compile before the capture
        dispatch.quant_matvec(dispatch.rms_norm(x, x[0], 1e-5)[0], quant)
    warm.synchronize()
    with torch.cuda.graph(graph):  # a wait for the device would fail the capture
        out = dispatch.quant_matvec(dispatch.rms_norm(x, x[0], 1e-5)[0], quant)
    x.normal_()
    graph.replay()
    torch.testing.assert_close(
        out, dispatch.quant_matvec(dispatch.rms_norm(x, x[0], 1e-5)[0], quant)
    )
