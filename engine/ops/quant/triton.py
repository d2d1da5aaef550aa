# mypy: ignore-errors
"""Product of a few rows with a quantised weight, bound by reading the weight once.

A program takes a strip of outputs and walks over groups of inputs. The integers are exact in fp16
and bf16, so a group's product runs on the matrix units with fp32 accumulation and its scale is
applied to the sum. The weight is the left operand: its strip fills the tile, the rows of the
batch (1 to 16) are its 16 columns. Short strips split the inputs over programs, whose partial sums
a second kernel adds in a fixed order.
"""

import torch
import triton
import triton.language as tl

from engine.ops.device import multiprocessors

STRIP = 64  # outputs of a program: one warpgroup's tile
ROWS = 16  # columns of the tile, the rows of the batch
WAVES = 4  # programs per multiprocessor wanted, so that enough reads are in flight
MAX_SPLITS = 16
REDUCE_BLOCK = 256


@triton.jit(do_not_specialize=["rows", "splits"])
def _quant_matvec(
    x,
    data,
    scales,
    out,
    rows,
    outputs,
    groups,
    splits,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    STRIP: tl.constexpr,
    ROWS: tl.constexpr,
):
    o = tl.program_id(0) * STRIP + tl.arange(0, STRIP)
    split = tl.program_id(1)
    n = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    in_o = o < outputs
    in_n = n < rows
    half: tl.constexpr = GROUP // 2
    span: tl.constexpr = GROUP if BITS == 8 else half  # bytes of a group
    byte = tl.arange(0, span)
    strip = data + o.to(tl.int64)[:, None] * (groups * span) + byte[None, :]
    row = x + n[:, None] * (groups * GROUP) + byte[None, :]
    each = tl.cdiv(groups, splits)
    first = split * each
    acc = tl.zeros((STRIP, ROWS), tl.float32)
    for g in range(first, tl.minimum(first + each, groups)):
        packed = tl.load(strip + g * span, mask=in_o[:, None], other=0)
        low = tl.load(row + g * GROUP, mask=in_n[:, None], other=0.0).trans()
        if BITS == 8:
            part = tl.dot(packed.to(low.dtype), low, input_precision="ieee")
        else:
            high = tl.load(row + g * GROUP + half, mask=in_n[:, None], other=0.0).trans()
            # Both shifts are arithmetic on int8 and carry a nibble's sign down.
            w_low = ((packed << 4).to(tl.int8) >> 4).to(low.dtype)
            w_high = (packed >> 4).to(low.dtype)
            part = tl.dot(w_low, low, input_precision="ieee")
            part = tl.dot(w_high, high, part, input_precision="ieee")
        scale = tl.load(scales + o * groups + g, mask=in_o, other=0.0)
        acc += part * scale[:, None]
    place = (split * rows + n[None, :]) * outputs + o[:, None]
    tl.store(out + place, acc.to(out.dtype.element_ty), mask=in_o[:, None] & in_n[None, :])


@triton.jit(do_not_specialize=["size"])
def _add_parts(parts, out, size, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    total = tl.zeros((BLOCK,), tl.float32)
    for split in tl.static_range(SPLITS):
        total += tl.load(parts + split * size + at, mask=inside, other=0.0)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


def splits_for(outputs, groups, processors):
    """Programs that share the inputs of one strip of outputs: a power of two."""
    strips = triton.cdiv(outputs, STRIP)
    splits = 1
    while splits < MAX_SPLITS and strips * splits < WAVES * processors and splits * 4 <= groups:
        splits *= 2
    return splits


def quant_matvec(x, weight, splits=None):
    """See `engine.ops.quant.reference.quant_matvec`; `splits` overrides the table for tests.

    The shape of the launch depends on the shapes alone, so it can be captured in a graph.
    """
    x = x.contiguous()
    rows, inputs = x.shape
    if inputs != weight.inputs:
        raise ValueError(f"{inputs} inputs for a weight of {weight.inputs}")
    if weight.group < 32 or weight.group & (weight.group - 1):
        raise ValueError(f"the kernel takes groups of a power of two from 32, not {weight.group}")
    outputs, groups = weight.outputs, weight.inputs // weight.group
    out = x.new_empty((rows, outputs))
    if out.numel() == 0:
        return out
    splits = splits or splits_for(outputs, groups, multiprocessors(x.device))
    parts = out
    if splits > 1:
        parts = torch.empty((splits, rows, outputs), device=x.device, dtype=torch.float32)
    _quant_matvec[(triton.cdiv(outputs, STRIP), splits, triton.cdiv(rows, ROWS))](
        x,
        weight.data,
        weight.scales,
        parts,
        rows,
        outputs,
        groups,
        splits,
        BITS=weight.bits,
        GROUP=weight.group,
        STRIP=STRIP,
        ROWS=ROWS,
        num_warps=4,
        num_stages=4,
    )
    if splits > 1:
        size = rows * outputs
        _add_parts[(triton.cdiv(size, REDUCE_BLOCK),)](
            parts, out, size, SPLITS=splits, BLOCK=REDUCE_BLOCK, num_warps=4
        )
    return out
