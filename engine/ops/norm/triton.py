# mypy: ignore-errors
"""RMSNorm with the residual added in the same pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _rms_norm(
    x, residual, weight, normed, total, columns, eps, ADD: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * columns
    at = tl.arange(0, BLOCK)
    inside = at < columns
    value = tl.load(x + row + at, mask=inside, other=0.0)
    if ADD:
        other = tl.load(residual + row + at, mask=inside, other=0.0)
        # Rounded as it is stored: the norm is that of the stored sum.
        value = (value.to(tl.float32) + other.to(tl.float32)).to(value.dtype)
        tl.store(total + row + at, value, mask=inside)
    wide = value.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 0) / columns + eps)
    gain = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row + at, (wide * scale * gain).to(value.dtype), mask=inside)


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `engine.ops.norm.reference.rms_norm`. One program per row."""
    rows, columns = x.shape
    x = x.contiguous()
    normed = torch.empty_like(x)
    total = x if residual is None else torch.empty_like(x)
    if rows:
        block = triton.next_power_of_2(columns)
        _rms_norm[(rows,)](
            x,
            x if residual is None else residual.contiguous(),
            weight,
            normed,
            total,
            columns,
            eps,
            ADD=residual is not None,
            BLOCK=block,
            num_warps=min(16, max(1, block // 512)),
        )
    return normed, total
