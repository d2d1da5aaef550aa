"""Attention over the paged cache: prefill, decode, chunks of the encoder, shared prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.ops import dispatch
from engine.ops.attention.reference import paged_attention
from tests._support.kernels import close, draw, wide

pytestmark = pytest.mark.kernels

NAN = float("nan")


@dataclass(frozen=True)
class Batch:
    """A ragged batch whose unused cache and table entries are poison."""

    q: Tensor
    keys: Tensor
    values: Tensor
    tables: Tensor
    query_starts: Tensor
    contexts: Tensor
    max_query: int

    def on_cpu(self) -> "Batch":
        q, keys, values = wide(self.q, self.keys, self.values)
        rest = (self.tables.cpu(), self.query_starts.cpu(), self.contexts.cpu())
        return Batch(q, keys, values, *rest, self.max_query)

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        return (self.q, self.keys, self.values, self.tables, self.query_starts, self.contexts)


def build(
    rows: Sequence[int],
    contexts: Sequence[int],
    *,
    heads: int,
    kv_heads: int,
    dim: int,
    block_tokens: int = 4,
    shared_blocks: Sequence[int] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Sequences over a shuffled pool; sequence s takes its first shared_blocks[s] from 0's."""
    needed = [-(-context // block_tokens) for context in contexts]
    width = max(needed) + 2
    free = torch.randperm(sum(needed) + 3, generator=torch.Generator().manual_seed(1)).tolist()
    keys = torch.full((len(free), kv_heads, block_tokens, dim), NAN, dtype=dtype)
    values = keys.clone()
    tables = torch.full((len(rows), width), 2**31 - 1, dtype=torch.int32)
    for s, (context, blocks) in enumerate(zip(contexts, needed, strict=True)):
        shared = shared_blocks[s] if shared_blocks else 0
        tables[s, :shared] = tables[0, :shared]
        for index in range(shared, blocks):
            block = free.pop()
            tables[s, index] = block
            used = min(block_tokens, context - index * block_tokens)
            shape = (kv_heads, used, dim)
            keys[block, :, :used] = draw(*shape, device="cpu", dtype=dtype, seed=2 * block)
            values[block, :, :used] = draw(*shape, device="cpu", dtype=dtype, seed=2 * block + 1)
    starts = torch.tensor([0, *rows]).cumsum(0).int()
    return Batch(
        draw(sum(rows), heads, dim, device=device, dtype=dtype),
        keys.to(device),
        values.to(device),
        tables.to(device),
        starts.to(device),
        torch.tensor(contexts, dtype=torch.int32).to(device),
        max(rows),
    )


def expected(batch: Batch, *, causal: bool, scale: float) -> Tensor:
    """Row by row and head by head, straight from the definition, in fp64."""
    plain = batch.on_cpu()
    out = torch.zeros_like(plain.q)
    group = plain.q.shape[1] // plain.keys.shape[1]
    block_tokens = plain.keys.shape[2]
    starts = plain.query_starts.tolist()
    for s, context in enumerate(plain.contexts.tolist()):
        rows = starts[s + 1] - starts[s]
        for i in range(rows):
            seen = context - rows + i + 1 if causal else context
            if seen <= 0:
                continue
            at = torch.arange(seen)
            block, offset = plain.tables[s, at // block_tokens].long(), at % block_tokens
            for head in range(plain.q.shape[1]):
                k = plain.keys[block, head // group, offset]
                v = plain.values[block, head // group, offset]
                weights = torch.softmax(scale * (k @ plain.q[starts[s] + i, head]), 0)
                out[starts[s] + i, head] = weights @ v
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 19)), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([(2, 2, 3), (6, 2, 4), (5, 1, 8)]),
)
def test_reference_follows_the_definition(
    sequences: list[tuple[int, int]], causal: bool, shape: tuple[int, int, int]
) -> None:
    rows, contexts = zip(*sequences, strict=True)
    heads, kv_heads, dim = shape
    batch = build(rows, contexts, heads=heads, kv_heads=kv_heads, dim=dim)
    out = paged_attention(*batch.arguments, causal=causal, max_query=batch.max_query, scale=0.4)
    assert close(out, expected(batch, causal=causal, scale=0.4))


CASES = {
    # name: (rows, contexts, heads, kv heads, dim)
    "decode": ([1, 1, 1], [37, 1, 70], 10, 2, 16),
    "decode, padded rows, group of 7": ([1, 1, 1], [50, 0, 3], 7, 1, 16),
    "prefill with a prefix": ([7, 1, 9], [45, 1, 9], 10, 2, 16),
    "rows without a key": ([6, 2], [4, 2], 4, 2, 16),
    "encoder chunk": ([9, 5], [70, 5], 2, 2, 64),
    "odd dim": ([3, 0, 4], [20, 9, 4], 4, 4, 20),
    "more lines than a tile": ([14], [66], 5, 1, 16),
}


@pytest.mark.parametrize(("causal", "splits"), [(True, None), (True, 3), (False, None)])
@pytest.mark.parametrize("case", CASES)
def test_kernel(device: str, case: str, causal: bool, splits: int | None) -> None:
    from engine.ops.attention import triton

    rows, contexts, heads, kv_heads, dim = CASES[case]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    batch = build(
        rows, contexts, heads=heads, kv_heads=kv_heads, dim=dim, device=device, dtype=dtype
    )
    out = triton.paged_attention(
        *batch.arguments, causal=causal, max_query=batch.max_query, scale=0.3, splits=splits
    )
    assert out.dtype == dtype
    assert close(out, expected(batch, causal=causal, scale=0.3))


def test_kernel_dtypes_and_block_sizes(device: str, dtype: torch.dtype) -> None:
    from engine.ops.attention import triton

    for block_tokens in (1, 16, 24):
        batch = build(
            [1, 3],
            [40, 17],
            heads=4,
            kv_heads=2,
            dim=16,
            block_tokens=block_tokens,
            device=device,
            dtype=dtype,
        )
        out = triton.paged_attention(*batch.arguments, causal=True, max_query=3, scale=0.25)
        assert close(out, expected(batch, causal=True, scale=0.25))


def test_large_scores_do_not_overflow(device: str) -> None:
    from engine.ops.attention import triton

    batch = build([2], [40], heads=2, kv_heads=1, dim=16, device=device)
    out = triton.paged_attention(*batch.arguments, causal=True, max_query=2, scale=300.0, splits=3)
    assert close(out, expected(batch, causal=True, scale=300.0), slack=50)


PREFIXES = {
    # name: (contexts, shared blocks, members, lengths), blocks of 4 tokens
    "one group": ([41, 33, 60], [0, 7, 7], [[0, 1, 2]], [28]),
    "a row in no group, a short group": ([41, 10, 33], [0, 0, 7], [[2, 0, -1]], [28]),
    "nothing but the prefix": ([28, 30], [0, 7], [[0, 1]], [28]),
    "an empty group, no prefix": ([41, 5], [0, 0], [[-1, -1], [1, -1]], [0, 4]),
    "two groups, padded rows": ([20, 22, 0, 9], [0, 3, 0, 2], [[0, 1], [3, -1]], [12, 8]),
}


@pytest.mark.parametrize("splits", [None, 3])
@pytest.mark.parametrize("case", PREFIXES)
def test_shared_prefix(device: str, case: str, splits: int | None) -> None:
    from engine.ops.attention import triton

    contexts, shared, members, lengths = PREFIXES[case]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    batch = build(
        [1] * len(contexts),
        contexts,
        heads=10,
        kv_heads=2,
        dim=16,
        shared_blocks=shared,
        device=device,
        dtype=dtype,
    )
    prefix = dispatch.SharedPrefix(
        torch.tensor(members, dtype=torch.int32, device=device),
        torch.tensor(lengths, dtype=torch.int32, device=device),
    )
    out = triton.paged_attention(
        *batch.arguments, causal=True, max_query=1, scale=0.3, prefix=prefix, splits=splits
    )
    assert close(out, expected(batch, causal=True, scale=0.3))


def test_shared_keys_are_read_from_the_first_member(device: str) -> None:
    """What makes it cheap: the shared part of the other members' tables is never followed."""
    from engine.ops.attention import triton

    batch = build([1, 1], [40, 30], heads=2, kv_heads=1, dim=16, shared_blocks=[0, 6])
    out = expected(batch, causal=True, scale=0.3)
    batch.tables[1, :6] = 2**31 - 1
    prefix = dispatch.SharedPrefix(
        torch.tensor([[0, 1]], dtype=torch.int32, device=device),
        torch.tensor([24], dtype=torch.int32, device=device),
    )
    arguments = [tensor.to(device) for tensor in batch.arguments]
    found = triton.paged_attention(
        *arguments, causal=True, max_query=1, scale=0.3, prefix=prefix, splits=2
    )
    assert close(found, out, slack=1 if device == "cpu" else 5)


def test_refuses_what_it_cannot_do(device: str) -> None:
    from engine.ops.attention import triton

    batch = build([2], [8], heads=3, kv_heads=3, dim=16, device=device)
    prefix = dispatch.SharedPrefix(
        torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    )
    for run in (triton.paged_attention, dispatch.paged_attention):
        with pytest.raises(ValueError, match="one row"):
            run(*batch.arguments, causal=True, max_query=2, scale=1.0, prefix=prefix)
    q, keys, *rest = batch.arguments
    with pytest.raises(ValueError, match="do not split"):
        triton.paged_attention(
            q, keys[:, :2].contiguous(), *rest, causal=True, max_query=2, scale=1.0
        )
    with pytest.raises(ValueError, match="contiguous"):
        triton.paged_attention(q, keys[:, :1], *rest, causal=True, max_query=2, scale=1.0)
