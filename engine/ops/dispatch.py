"""The operations of the native engine, each by its kernel or by its torch reference.

A CUDA tensor goes to the Triton kernel if the kernel is kept, everything else to the reference.
Triton is imported with the first call that needs it, so a machine without it can use the rest.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.ops.attention import reference as _attention
from engine.ops.attention.prefix import SharedPrefix
from engine.ops.conv import reference as _conv
from engine.ops.norm import reference as _norm
from engine.ops.quant import GROUP
from engine.ops.quant import reference as _quant
from engine.ops.quant import weight as _weight
from engine.ops.quant.weight import QuantWeight, quantize
from engine.ops.rope import reference as _rope
from engine.ops.swiglu import reference as _swiglu

__all__ = [
    "KEPT",
    "QuantWeight",
    "SharedPrefix",
    "adaptor",
    "conv_stem",
    "dequantize",
    "paged_attention",
    "quant_matvec",
    "quantize",
    "rms_norm",
    "rope_and_cache",
    "swiglu",
]

# A kernel is kept where it beats torch at the shapes of the models: benchmarks/gpu_kernels.py
# decides. Those that have yet to be measured and have a fast library behind them are left out.
KEPT = frozenset(
    {"rms_norm", "rope_and_cache", "paged_attention", "swiglu", "quant_matvec", "dequantize"}
)

MATVEC_ROWS = 16  # above it the product is no longer bound by reading the weight


def _kernel(op: str, x: Tensor) -> bool:
    return x.is_cuda and op in KEPT


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """RMSNorm of x (+ residual): see `engine.ops.norm.reference.rms_norm`."""
    if _kernel("rms_norm", x):
        from engine.ops.norm import triton

        return triton.rms_norm(x, weight, eps, residual)
    return _norm.rms_norm(x, weight, eps, residual)


def rope_and_cache(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    slots: Tensor,
    keys: Tensor,
    values: Tensor,
    heads: int,
) -> Tensor:
    """Rotate q and k, store k and v: see `engine.ops.rope.reference.rope_and_cache`."""
    if _kernel("rope_and_cache", qkv):
        from engine.ops.rope import triton

        return triton.rope_and_cache(qkv, cos, sin, positions, slots, keys, values, heads)
    return _rope.rope_and_cache(qkv, cos, sin, positions, slots, keys, values, heads)


def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    query_starts: Tensor,
    contexts: Tensor,
    *,
    causal: bool,
    max_query: int,
    scale: float,
    prefix: SharedPrefix | None = None,
) -> Tensor:
    """Attention over the paged cache: see `engine.ops.attention.reference.paged_attention`.

    Raises:
        ValueError: a shared prefix with sequences of more than one row.
    """
    if prefix is not None and max_query != 1:
        raise ValueError("a shared prefix is for sequences of one row")
    if _kernel("paged_attention", q):
        from engine.ops.attention import triton

        run: Callable[..., Tensor] = triton.paged_attention
    else:
        run = _attention.paged_attention
    return run(
        q,
        keys,
        values,
        tables,
        query_starts,
        contexts,
        causal=causal,
        max_query=max_query,
        scale=scale,
        prefix=prefix,
    )


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(first half) * second half: [N, 2I] -> [N, I]."""
    if _kernel("swiglu", gate_up):
        from engine.ops.swiglu import triton

        return triton.swiglu(gate_up)
    return _swiglu.swiglu(gate_up)


def conv_stem(
    mel: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    left_edge: bool,
    right_edge: bool,
) -> Tensor:
    """The encoder's convolutions on a window: see `engine.ops.conv.reference.conv_stem`."""
    if _kernel("conv_stem", mel):
        from engine.ops.conv.triton import conv_stem as run
    else:
        run = _conv.conv_stem
    return run(mel, w1, b1, w2, b2, left_edge=left_edge, right_edge=right_edge)


def adaptor(
    frames: Tensor,
    conv_w: Tensor,
    conv_b: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    left_edge: bool,
    right_edge: bool,
) -> Tensor:
    """Frames of the encoder to latents: see `engine.ops.conv.reference.adaptor`."""
    if _kernel("adaptor", frames):
        from engine.ops.conv.triton import adaptor as run
    else:
        run = _conv.adaptor
    return run(frames, conv_w, conv_b, w1, b1, w2, b2, left_edge=left_edge, right_edge=right_edge)


def quant_matvec(x: Tensor, weight: QuantWeight) -> Tensor:
    """x [N, K] times a quantised [O, K] -> [N, O]; many rows dequantise and use torch."""
    fits = x.shape[0] <= MATVEC_ROWS and weight.group == GROUP
    if fits and _kernel("quant_matvec", x):
        from engine.ops.quant import triton

        return triton.quant_matvec(x, weight)
    return _quant.quant_matvec(x, weight, dequantize)


def dequantize(weight: QuantWeight, dtype: torch.dtype) -> Tensor:
    """The matrix [O, K] of a quantised weight: see `engine.ops.quant.weight.dequantize`."""
    if weight.group == GROUP and _kernel("dequantize", weight.data):
        from engine.ops.quant import triton

        return triton.dequantize(weight, dtype)
    return _weight.dequantize(weight, dtype)
