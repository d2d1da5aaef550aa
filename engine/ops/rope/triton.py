# mypy: ignore-errors
"""Rotary positions and the write into the paged cache in one pass over q, k and v."""

import triton
import triton.language as tl
from torch import Tensor

HEADS = 8  # heads per program: 8 x 128 values, one row of the batch


@triton.jit
def _rope_and_cache(
    qkv,
    cos,
    sin,
    positions,
    slots,
    keys,
    values,
    q,
    heads,
    KV_HEADS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    DIM: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[:, None]
    at = tl.arange(0, HALF)[None, :]
    half: tl.constexpr = DIM // 2
    total = heads + 2 * KV_HEADS
    inside = (head < total) & (at < half)
    source = qkv + row * total * DIM + head * DIM + at
    low = tl.load(source, mask=inside, other=0.0)
    high = tl.load(source + half, mask=inside, other=0.0)

    position = tl.load(positions + row)
    c = tl.load(cos + position * half + at, mask=at < half, other=0.0).to(tl.float32)
    s = tl.load(sin + position * half + at, mask=at < half, other=0.0).to(tl.float32)
    wide_low = low.to(tl.float32)
    wide_high = high.to(tl.float32)
    turned_low = (wide_low * c - wide_high * s).to(low.dtype)
    turned_high = (wide_high * c + wide_low * s).to(low.dtype)

    is_q = inside & (head < heads)
    target = q + row * heads * DIM + head * DIM + at
    tl.store(target, turned_low, mask=is_q)
    tl.store(target + half, turned_high, mask=is_q)

    slot = tl.load(slots + row)
    if slot >= 0:
        block = slot // BLOCK_TOKENS  # int64: a pool can hold more than 2^31 values
        kv_head = tl.where(head < heads + KV_HEADS, head - heads, head - heads - KV_HEADS)
        place = ((block * KV_HEADS + kv_head) * BLOCK_TOKENS + slot % BLOCK_TOKENS) * DIM + at
        is_k = inside & (head >= heads) & (head < heads + KV_HEADS)
        is_v = inside & (head >= heads + KV_HEADS)
        cached = keys.dtype.element_ty
        tl.store(keys + place, turned_low.to(cached), mask=is_k)
        tl.store(keys + place + half, turned_high.to(cached), mask=is_k)
        tl.store(values + place, low.to(cached), mask=is_v)
        tl.store(values + place + half, high.to(cached), mask=is_v)


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
    """See `engine.ops.rope.reference.rope_and_cache`; does not wait for the device."""
    _, kv_heads, block_tokens, dim = keys.shape
    if not (keys.is_contiguous() and values.is_contiguous()):
        raise ValueError("the cache of one layer is contiguous")
    qkv = qkv.contiguous()
    rows = qkv.shape[0]
    q = qkv.new_empty((rows, heads, dim))
    if rows:
        _rope_and_cache[(rows, triton.cdiv(heads + 2 * kv_heads, HEADS))](
            qkv,
            cos,
            sin,
            positions,
            slots,
            keys,
            values,
            q,
            heads,
            KV_HEADS=kv_heads,
            BLOCK_TOKENS=block_tokens,
            DIM=dim,
            HALF=triton.next_power_of_2(dim // 2),
            BLOCK_H=HEADS,
            num_warps=4,
        )
    return q
