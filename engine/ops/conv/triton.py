# mypy: ignore-errors
"""Convolutions and linears as one implicit matrix product, bias and activation fused.

out[t, o] = act(bias[o] + sum over taps k and channels c of w[o, c, k] x[t * stride + k - pad, c])

Strides of input and weight are arguments: a mel that is channels-first needs no transposed copy,
and a weight may be laid out as [taps, outputs, channels] in memory behind its [outputs, channels,
taps] view, which makes its reads contiguous.
"""

import triton
import triton.language as tl
from torch import Tensor

# (frames, outputs, channels) of a tile, warps, stages. A window is short and the weight is what is
# read: narrow tiles of outputs put more programs on it.
SHORT = (16, 32, 128, 4, 4)
LONG = (64, 64, 64, 4, 4)
SHORT_FRAMES = 32


# A window of another width is not another kernel.
@triton.jit(do_not_specialize=["columns", "frames", "x_batch"])
def _taps(
    x,
    weight,
    bias,
    out,
    columns,
    channels,
    outputs,
    frames,
    x_batch,
    x_time,
    x_channel,
    w_output,
    w_channel,
    w_tap,
    PAD: tl.constexpr,
    TAPS: tl.constexpr,
    STRIDE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    in_t = t < frames
    in_o = o < outputs
    acc = tl.zeros((BLOCK_T, BLOCK_O), tl.float32)
    steps = tl.cdiv(channels, BLOCK_C)
    for step in range(0, TAPS * steps):
        tap = step // steps
        c = (step % steps) * BLOCK_C + tl.arange(0, BLOCK_C)
        in_c = c < channels
        at = t * STRIDE + tap - PAD
        seen = in_t & (at >= 0) & (at < columns)
        a = tl.load(
            x + batch * x_batch + at[:, None] * x_time + c[None, :] * x_channel,
            mask=seen[:, None] & in_c[None, :],
            other=0.0,
        )
        b = tl.load(
            weight + tap * w_tap + c[:, None] * w_channel + o[None, :] * w_output,
            mask=in_c[:, None] & in_o[None, :],
            other=0.0,
        )
        acc = tl.dot(a, b, acc, input_precision="ieee")
    acc += tl.load(bias + o, mask=in_o, other=0.0).to(tl.float32)[None, :]
    if ACTIVATION == "gelu":
        acc = 0.5 * acc * (1.0 + tl.erf(acc * 0.7071067811865476))
    elif ACTIVATION == "relu":
        acc = tl.maximum(acc, 0.0)
    place = out + (batch * frames + t[:, None]) * outputs + o[None, :]
    tl.store(place, acc.to(out.dtype.element_ty), mask=in_t[:, None] & in_o[None, :])


def _product(x, weight, bias, activation, *, stride=1, left=0, right=0):
    """Convolve x [B, W, C] (any strides) with weight [O, C, taps] -> contiguous [B, F, O]."""
    batch, columns, channels = x.shape
    outputs, _, taps = weight.shape
    frames = max(0, (columns + left + right - taps) // stride + 1)
    out = x.new_empty((batch, frames, outputs))
    if out.numel():
        block_t, block_o, block_c, warps, stages = SHORT if frames <= SHORT_FRAMES else LONG
        grid = (triton.cdiv(frames, block_t), triton.cdiv(outputs, block_o), batch)
        _taps[grid](
            x,
            weight,
            bias,
            out,
            columns,
            channels,
            outputs,
            frames,
            *x.stride(),
            *weight.stride(),
            PAD=left,
            TAPS=taps,
            STRIDE=stride,
            ACTIVATION=activation,
            BLOCK_T=block_t,
            BLOCK_O=block_o,
            BLOCK_C=block_c,
            num_warps=warps,
            num_stages=stages,
        )
    return out


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
    """See `engine.ops.conv.reference.conv_stem`: two launches."""
    edges = {"left": int(left_edge), "right": int(right_edge)}
    x = _product(mel.transpose(1, 2), w1, b1, "gelu", **edges)
    return _product(x, w2, b2, "gelu", stride=2, **edges)


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
    """See `engine.ops.conv.reference.adaptor`: three launches."""
    x = _product(
        frames, conv_w, conv_b, "gelu", stride=2, left=int(left_edge), right=int(right_edge)
    )
    x = _product(x, w1.unsqueeze(-1), b1, "relu")
    return _product(x, w2.unsqueeze(-1), b2, "none")
