# mypy: ignore-errors
"""Quantised weights: their product with a few rows, and the weight unpacked for many rows.

The product is bound by reading the weight once. A program takes a strip of outputs and walks over
groups of inputs. One or two rows multiply and add in fp32 as they come; the walk is then short of
instructions, not only of bytes, so numbers become floats by a mask (`_nibble`) and sums stay in the
lane that read the weight. More rows go through the matrix units: the numbers are exact in fp16 and
bf16, and a group's scale is applied to its sum. Short strips split the inputs over programs, whose
partial sums a second kernel adds in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.device import multiprocessors
from engine.ops.quant import GROUP
from engine.ops.quant.weight import QuantWeight

LANE_STRIP = {8: 32, 4: 64}  # outputs of a program: 4 KiB of weight at a time, by bits
LANE_ROWS, LANE_WAVES = 2, 8  # most rows; programs per multiprocessor wanted
DOT_STRIP, DOT_ROWS, DOT_WAVES = 64, 16, 4  # one warpgroup's tile
MAX_SPLITS = 16
UNPACK_STRIP = 32  # outputs of a program
REDUCE_BLOCK = 256


@triton.jit
def _nibble(words, index: tl.constexpr):
    """Number `index` of each word as fp32: bits of 2^23 + n are those of 2^23 with n below."""
    bits = ((words >> (4 * index)) & 0xF) | 0x4B000000
    return bits.to(tl.float32, bitcast=True) - 8388616.0


@triton.jit(do_not_specialize=["rows", "splits"])
def _by_lane(
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
    TWO: tl.constexpr,
):
    """One row of x, or with TWO two of them."""
    o = tl.program_id(0) * STRIP + tl.arange(0, STRIP)
    split = tl.program_id(1)
    in_o = o < outputs
    span: tl.constexpr = GROUP if BITS == 8 else GROUP // 8  # elements of `data` in a group
    at = tl.arange(0, span)
    strip = data + o.to(tl.int64)[:, None] * (groups * span) + at[None, :]
    row = x + at
    other = row + groups * GROUP
    each = tl.cdiv(groups, splits)
    first = split * each
    acc = tl.zeros((STRIP, span), tl.float32)
    acc_other = tl.zeros((STRIP, span), tl.float32)
    for g in range(first, tl.minimum(first + each, groups)):
        whole = tl.load(strip + g * span, mask=in_o[:, None], other=0)
        scale = tl.load(scales + o * groups + g, mask=in_o, other=0.0)[:, None]
        if BITS == 8:
            weight = whole.to(tl.float32) * scale
            acc += weight * tl.load(row + g * GROUP).to(tl.float32)[None, :]
            if TWO:
                acc_other += weight * tl.load(other + g * GROUP).to(tl.float32)[None, :]
        else:
            part = tl.zeros((STRIP, span), tl.float32)
            part_other = tl.zeros((STRIP, span), tl.float32)
            for i in tl.static_range(8):
                weight = _nibble(whole, i)
                seen = tl.load(row + g * GROUP + i * span).to(tl.float32)
                part += weight * seen[None, :]
                if TWO:
                    seen = tl.load(other + g * GROUP + i * span).to(tl.float32)
                    part_other += weight * seen[None, :]
            acc += part * scale
            if TWO:
                acc_other += part_other * scale
    place = out + split * rows * outputs + o
    tl.store(place, tl.sum(acc, 1).to(out.dtype.element_ty), mask=in_o)
    if TWO:
        tl.store(place + outputs, tl.sum(acc_other, 1).to(out.dtype.element_ty), mask=in_o)


@triton.jit(do_not_specialize=["rows", "splits"])
def _by_dot(
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
    """ROWS rows of x; the weight is the left operand, so that its strip fills the tile."""
    o = tl.program_id(0) * STRIP + tl.arange(0, STRIP)
    split = tl.program_id(1)
    n = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    in_o = o < outputs
    in_n = n < rows
    span: tl.constexpr = GROUP if BITS == 8 else GROUP // 8
    at = tl.arange(0, span)
    strip = data + o.to(tl.int64)[:, None] * (groups * span) + at[None, :]
    row = x + n[:, None] * (groups * GROUP) + at[None, :]
    each = tl.cdiv(groups, splits)
    first = split * each
    acc = tl.zeros((STRIP, ROWS), tl.float32)
    for g in range(first, tl.minimum(first + each, groups)):
        whole = tl.load(strip + g * span, mask=in_o[:, None], other=0)
        if BITS == 8:
            seen = tl.load(row + g * GROUP, mask=in_n[:, None], other=0.0)
            part = tl.dot(whole.to(seen.dtype), seen.trans(), input_precision="ieee")
        else:
            part = tl.zeros((STRIP, ROWS), tl.float32)
            for i in tl.static_range(8):
                seen = tl.load(row + g * GROUP + i * span, mask=in_n[:, None], other=0.0)
                weight = _nibble(whole, i).to(seen.dtype)
                part = tl.dot(weight, seen.trans(), part, input_precision="ieee")
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


@triton.jit
def _unpack(
    data,
    scales,
    out,
    outputs,
    groups,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    STRIP: tl.constexpr,
):
    """One group of inputs of a strip of outputs."""
    o = tl.program_id(0) * STRIP + tl.arange(0, STRIP)
    g = tl.program_id(1)
    in_o = (o < outputs)[:, None]
    span: tl.constexpr = GROUP if BITS == 8 else GROUP // 8
    at = tl.arange(0, span)[None, :]
    row = o.to(tl.int64)[:, None]
    whole = tl.load(data + row * (groups * span) + g * span + at, mask=in_o, other=0)
    scale = tl.load(scales + row * groups + g, mask=in_o, other=0.0)
    place = out + row * (groups * GROUP) + g * GROUP + at
    if BITS == 8:
        tl.store(place, (whole.to(tl.float32) * scale).to(out.dtype.element_ty), mask=in_o)
    else:
        for i in tl.static_range(8):
            number = _nibble(whole, i) * scale
            tl.store(place + i * span, number.to(out.dtype.element_ty), mask=in_o)


def dequantize(weight: QuantWeight, dtype: torch.dtype) -> Tensor:
    """See `engine.ops.quant.weight.dequantize`. It reads the weight and writes the result once.

    Raises:
        ValueError: the groups are of a size without a tile.
    """
    if weight.group != GROUP:
        raise ValueError(f"the kernel takes groups of {GROUP}, not {weight.group}")
    outputs, groups = weight.scales.shape
    out = torch.empty((outputs, weight.inputs), device=weight.data.device, dtype=dtype)
    if out.numel():
        grid = (triton.cdiv(outputs, UNPACK_STRIP), groups)
        _unpack[grid](
            weight.data,
            weight.scales,
            out,
            outputs,
            groups,
            BITS=weight.bits,
            GROUP=GROUP,
            STRIP=UNPACK_STRIP,
            num_warps=4,
        )
    return out


def splits_for(strips, groups, wanted):
    """Programs that share the inputs of a strip of outputs: a power of two, 4 groups for each."""
    splits = 1
    while splits < MAX_SPLITS and strips * splits < wanted and splits * 8 <= groups:
        splits *= 2
    return splits


def quant_matvec(x: Tensor, weight: QuantWeight, splits: int | None = None) -> Tensor:
    """See `engine.ops.quant.reference.quant_matvec`; `splits` overrides the table for tests.

    The shape of the launch depends on the shapes alone, so it can be captured in a graph.

    Raises:
        ValueError: the inputs do not fit, or the groups are of a size without a tile.
    """
    x = x.contiguous()
    rows, inputs = x.shape
    if inputs != weight.inputs:
        raise ValueError(f"{inputs} inputs for a weight of {weight.inputs}")
    if weight.group != GROUP:
        raise ValueError(f"the kernel takes groups of {GROUP}, not {weight.group}")
    outputs, groups = weight.outputs, weight.inputs // weight.group
    out = x.new_empty((rows, outputs))
    if out.numel() == 0:
        return out
    lane = rows <= LANE_ROWS
    strip, waves = (LANE_STRIP[weight.bits], LANE_WAVES) if lane else (DOT_STRIP, DOT_WAVES)
    strips = triton.cdiv(outputs, strip)
    splits = splits or splits_for(strips, groups, waves * multiprocessors(x.device))
    parts = out
    if splits > 1:
        parts = torch.empty((splits, rows, outputs), device=x.device, dtype=torch.float32)
    operands = (x, weight.data, weight.scales, parts, rows, outputs, groups, splits)
    tile = {"BITS": weight.bits, "GROUP": weight.group, "STRIP": strip, "num_warps": 4}
    if lane:
        _by_lane[(strips, splits)](*operands, TWO=rows == 2, **tile)
    else:
        tiles = triton.cdiv(rows, DOT_ROWS)
        _by_dot[(strips, splits, tiles)](*operands, ROWS=DOT_ROWS, num_stages=4, **tile)
    if splits > 1:
        size = rows * outputs
        _add_parts[(triton.cdiv(size, REDUCE_BLOCK),)](
            parts, out, size, SPLITS=splits, BLOCK=REDUCE_BLOCK, num_warps=4
        )
    return out
