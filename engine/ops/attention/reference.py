"""Attention over a paged cache, in torch."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from engine.ops.attention.prefix import SharedPrefix


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
    """Attention of a ragged batch of sequences over their cached keys and values.

    Args:
        q: [N, H, D], rows of all sequences one after another.
        keys: [blocks, Hkv, block_tokens, D]; H is a multiple of Hkv.
        values: as `keys`.
        tables: [S, M] int32, the blocks of each sequence in order; entries past the context are
            not read.
        query_starts: [S + 1] int32: sequence s has rows query_starts[s]:query_starts[s + 1], and
            query_starts[S] == N.
        contexts: [S] int32, keys each sequence sees, its own new rows included; 0 gives zeros.
        causal: row i of n sees the keys before contexts[s] - n + i + 1; otherwise all of them.
        max_query: at least the largest number of rows of a sequence.
        scale: of the scores.
        prefix: keys that groups of one-row sequences share. It changes the order of the work, not
            the result, and is not used here.

    Returns:
        [N, H, D] in the dtype of `q`. Reads the sizes back from the device.
    """
    group = q.shape[1] // keys.shape[1]
    block_tokens = keys.shape[2]
    out = torch.zeros_like(q)
    starts = query_starts.tolist()
    for s, context in enumerate(contexts.tolist()):
        rows = starts[s + 1] - starts[s]
        if rows == 0 or context == 0:
            continue
        blocks = tables[s, : -(-context // block_tokens)]
        k = _gather(keys, blocks, context, group)
        v = _gather(values, blocks, context, group)
        mask = None
        if causal and rows > 1:
            mask = _causal_mask(rows, context, q.device)
        heads = q[starts[s] : starts[s + 1]].transpose(0, 1)
        seen = scaled_dot_product_attention(heads, k, v, attn_mask=mask, scale=scale)
        # A row that sees no key at all (more rows than context) is zero, not nan.
        first = max(0, rows - context) if causal else 0
        out[starts[s] + first : starts[s + 1]] = seen.transpose(0, 1)[first:]
    return out


def _gather(cache: Tensor, blocks: Tensor, context: int, group: int) -> Tensor:
    """The sequence's keys or values, contiguous, one copy per query head: [H, context, D]."""
    _, kv_heads, _, dim = cache.shape
    picked = cache.index_select(0, blocks).transpose(0, 1).reshape(kv_heads, -1, dim)[:, :context]
    if group == 1:
        return picked
    return picked.unsqueeze(1).expand(-1, group, -1, -1).reshape(-1, context, dim)


def _causal_mask(rows: int, context: int, device: torch.device) -> Tensor:
    """[rows, context] bool, true where a row sees a key."""
    last = torch.arange(context - rows + 1, context + 1, device=device)
    return torch.arange(context, device=device)[None, :] < last[:, None]
