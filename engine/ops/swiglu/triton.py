# mypy: ignore-errors
"""SwiGLU in one pass."""

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _swiglu(gate_up, out, half, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < half
    gate = tl.load(gate_up + row * 2 * half + at, mask=inside, other=0.0)
    up = tl.load(gate_up + row * 2 * half + half + at, mask=inside, other=0.0)
    wide = gate.to(tl.float32)
    value = wide * tl.sigmoid(wide) * up.to(tl.float32)
    tl.store(out + row * half + at, value.to(gate.dtype), mask=inside)


def swiglu(gate_up: Tensor) -> Tensor:
    """See `engine.ops.swiglu.reference.swiglu`."""
    gate_up = gate_up.contiguous()
    rows, half = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty((rows, half))
    if rows:
        grid = (rows, triton.cdiv(half, BLOCK))
        _swiglu[grid](gate_up, out, half, BLOCK=BLOCK, num_warps=4)
    return out
