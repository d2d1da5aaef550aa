"""Rotary positions and the write into the paged cache, in torch."""

import torch
from torch import Tensor


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
    """Rotate q and k (rotate-half, as GPT-NeoX and Qwen2), store k and v, return q.

    Args:
        qkv: [N, (H + 2 * Hkv) * D], q heads, then k heads, then v heads.
        cos: [P, D // 2] fp32, by position.
        sin: [P, D // 2] fp32.
        positions: [N] int64.
        slots: [N] int64: block * block_tokens + offset; -1 writes nothing (padding rows).
        keys: [blocks, Hkv, block_tokens, D], written in place.
        values: as `keys`.
        heads: H.

    Returns:
        q [N, H, D]. Storing waits for the device when tensors are on one (a boolean mask).
    """
    _, kv_heads, block_tokens, dim = keys.shape
    rows = qkv.view(qkv.shape[0], heads + 2 * kv_heads, dim)
    turned = rows[:, : heads + kv_heads].float()
    c = cos[positions].float().unsqueeze(1)
    s = sin[positions].float().unsqueeze(1)
    low, high = turned.chunk(2, dim=-1)
    turned = torch.cat((low * c - high * s, high * c + low * s), dim=-1).to(qkv.dtype)
    v = rows[:, heads + kv_heads :]
    kept = slots >= 0
    block = torch.div(slots[kept], block_tokens, rounding_mode="floor")
    offset = slots[kept] % block_tokens
    keys[block, :, offset] = turned[kept, heads:].to(keys.dtype)
    values[block, :, offset] = v[kept].to(values.dtype)
    return turned[:, :heads].contiguous()
