# mypy: ignore-errors
"""Attention over a paged cache: flash-style tiles, split over keys, merged by log-sum-exp.

A tile of queries stacks the heads of one group with the rows of the sequence, so every key and
value is read once per kv head. Decoding is the same kernel with a tile of one row. Sizes that
change from step to step are not specialised on: no compilation in the middle of a call.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _scan_keys(
    q,
    keys,
    values,
    table,
    head,
    first,
    last,
    limit,
    scale,
    KV_HEADS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Online softmax of q [M, D] over keys first..last of a table; row m sees those < limit[m].

    Returns the values' mean [M, D] (zero where a row saw nothing) and the log2-sum-exp2 of the
    scores [M] (-inf there).
    """
    at_d = tl.arange(0, BLOCK_D)
    in_d = at_d < DIM
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    mass = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for start in range(first, last, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        in_n = n < last
        # int64: a pool can hold more than 2^31 values.
        block = tl.load(table + n // BLOCK_TOKENS, mask=in_n, other=0).to(tl.int64)
        token = (block * KV_HEADS + head) * BLOCK_TOKENS + n % BLOCK_TOKENS
        place = token[:, None] * DIM + at_d[None, :]
        read = in_n[:, None] & in_d[None, :]
        k = tl.load(keys + place, mask=read, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * (scale * LOG2E)
        scores = tl.where(n[None, :] < limit[:, None], scores, float("-inf"))
        peak = tl.maximum(top, tl.max(scores, 1))
        base = tl.where(peak == float("-inf"), 0.0, peak)  # a row that has seen nothing yet
        shrink = tl.exp2(top - base)
        weights = tl.exp2(scores - base[:, None])
        mass = mass * shrink + tl.sum(weights, 1)
        v = tl.load(values + place, mask=read, other=0.0)
        acc = acc * shrink[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision="ieee")
        top = peak
    seen = mass > 0.0
    safe = tl.where(seen, mass, 1.0)
    return acc / safe[:, None], tl.where(seen, top + tl.log2(safe), float("-inf"))


@triton.jit
def _shared_length(members, lengths, sequence, count, per_group, BLOCK_G: tl.constexpr):
    """Tokens of the shared prefix of a sequence's group, 0 where it is in none."""
    at = tl.arange(0, BLOCK_G)
    inside = at < count
    mine = tl.load(members + at, mask=inside, other=-1) == sequence
    length = tl.load(lengths + at // per_group, mask=inside & mine, other=0)
    return tl.sum(tl.where(mine, length, 0), 0)


@triton.jit(do_not_specialize=["rows", "width", "splits", "tiles", "count", "per_group"])
def attend(
    q,
    keys,
    values,
    tables,
    query_starts,
    contexts,
    members,
    lengths,
    out,
    peaks,
    rows,
    width,
    splits,
    tiles,
    count,
    per_group,
    scale,
    CAUSAL: tl.constexpr,
    SPLIT: tl.constexpr,
    SHARED: tl.constexpr,
    GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_G: tl.constexpr,
):
    """One tile of queries of one sequence over one part of its keys.

    With SPLIT, out [splits, N, H, D] and peaks [splits, N, H] are fp32 parts for `merge`; without
    it `out` is the result. With SHARED, keys of the group's shared prefix are left out.
    """
    # The last tiles of a causal prompt see the most keys: they start first.
    tile = tiles - 1 - tl.program_id(0) // splits
    split = tl.program_id(0) % splits
    head = tl.program_id(1)
    sequence = tl.program_id(2)
    start = tl.load(query_starts + sequence)
    length = tl.load(query_starts + sequence + 1) - start
    if tile * BLOCK_M < length * GROUP:
        context = tl.load(contexts + sequence)
        flat = tile * BLOCK_M + tl.arange(0, BLOCK_M)
        row = flat // GROUP
        in_m = row < length
        if CAUSAL:
            limit = tl.where(in_m, context - length + row + 1, 0)
        else:
            limit = tl.where(in_m, context, 0)
        at_d = tl.arange(0, BLOCK_D)
        heads: tl.constexpr = KV_HEADS * GROUP
        # flat = row * GROUP + head of the group, so the heads of a row are consecutive.
        line = (start + row).to(tl.int64) * heads + head * GROUP + flat % GROUP
        inside = in_m[:, None] & (at_d < DIM)[None, :]
        query = tl.load(q + line[:, None] * DIM + at_d[None, :], mask=inside, other=0.0)
        last = tl.max(limit, 0)
        first = 0
        if SHARED:
            first = _shared_length(members, lengths, sequence, count, per_group, BLOCK_G)
        if SPLIT:
            each = tl.cdiv(tl.cdiv(tl.maximum(last - first, 0), splits), BLOCK_N) * BLOCK_N
            first += split * each
            last = tl.minimum(last, first + each)
        mean, peak = _scan_keys(
            query,
            keys,
            values,
            tables + sequence.to(tl.int64) * width,
            head,
            first,
            last,
            limit,
            scale,
            KV_HEADS,
            BLOCK_TOKENS,
            DIM,
            BLOCK_M,
            BLOCK_N,
            BLOCK_D,
        )
        if SPLIT:
            line += split.to(tl.int64) * rows * heads
            tl.store(peaks + line, peak, mask=in_m)
        place = out + line[:, None] * DIM + at_d[None, :]
        tl.store(place, mean.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "width", "splits", "per_group"])
def attend_shared(
    q,
    keys,
    values,
    tables,
    query_starts,
    members,
    lengths,
    out,
    peaks,
    rows,
    width,
    splits,
    per_group,
    scale,
    GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """All member rows of one group over one part of the keys they share.

    out [splits, N, H, D] and peaks [splits, N, H] are fp32 parts for `merge`; only lines of members
    are written.
    """
    tile = tl.program_id(0) // splits
    split = tl.program_id(0) % splits
    head = tl.program_id(1)
    group = tl.program_id(2)
    flat = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    place = flat // GROUP
    sequence = tl.load(members + group * per_group + place, mask=place < per_group, other=-1)
    member = sequence >= 0
    row = tl.load(query_starts + sequence, mask=member, other=0)
    after = tl.load(query_starts + sequence + 1, mask=member, other=0)
    member = member & (after > row)
    at_d = tl.arange(0, BLOCK_D)
    heads: tl.constexpr = KV_HEADS * GROUP
    line = row.to(tl.int64) * heads + head * GROUP + flat % GROUP
    inside = member[:, None] & (at_d < DIM)[None, :]
    query = tl.load(q + line[:, None] * DIM + at_d[None, :], mask=inside, other=0.0)

    owner = tl.maximum(tl.load(members + group * per_group), 0)
    length = tl.load(lengths + group)
    each = tl.cdiv(tl.cdiv(length, splits), BLOCK_N) * BLOCK_N
    first = split * each
    mean, peak = _scan_keys(
        query,
        keys,
        values,
        tables + owner.to(tl.int64) * width,
        head,
        first,
        tl.minimum(length, first + each),
        tl.where(member, length, 0),
        scale,
        KV_HEADS,
        BLOCK_TOKENS,
        DIM,
        BLOCK_M,
        BLOCK_N,
        BLOCK_D,
    )
    line += split.to(tl.int64) * rows * heads
    tl.store(peaks + line, peak, mask=member)
    tl.store(out + line[:, None] * DIM + at_d[None, :], mean, mask=inside)


@triton.jit(do_not_specialize=["rows", "sequences", "own", "parts", "count", "per_group"])
def merge(
    partial,
    peaks,
    query_starts,
    members,
    lengths,
    out,
    rows,
    sequences,
    own,
    parts,
    count,
    per_group,
    SHARED: tl.constexpr,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Add the parts of one head of one row, weighed by their share of the softmax.

    The first `own` parts are the row's, the others its group's: rows in no group have none there.
    """
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    part = tl.arange(0, BLOCK_P)
    present = part < parts
    if SHARED:
        # The sequence of this row, a row being all there is of a sequence here.
        s = tl.arange(0, BLOCK_S)
        inside = s < sequences
        begin = tl.load(query_starts + s, mask=inside, other=0)
        end = tl.load(query_starts + s + 1, mask=inside, other=0)
        sequence = tl.sum(tl.where(inside & (begin == row) & (end > row), s, 0), 0)
        shared = _shared_length(members, lengths, sequence, count, per_group, BLOCK_G)
        present = part < tl.where(shared > 0, parts, own)
    line = part.to(tl.int64) * rows * HEADS + row * HEADS + head
    peak = tl.load(peaks + line, mask=present, other=float("-inf"))
    top = tl.max(peak, 0)
    top = tl.where(top == float("-inf"), 0.0, top)
    share = tl.exp2(peak - top)
    total = tl.sum(share, 0)
    share = share / tl.where(total > 0.0, total, 1.0)
    at_d = tl.arange(0, BLOCK_D)
    read = present[:, None] & (at_d < DIM)[None, :]
    mean = tl.load(partial + line[:, None] * DIM + at_d[None, :], mask=read, other=0.0)
    result = tl.sum(mean * share[:, None], 0)
    place = out + (row * HEADS + head) * DIM + at_d
    tl.store(place, result.to(out.dtype.element_ty), mask=at_d < DIM)
