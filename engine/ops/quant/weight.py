"""Weights in 8 or 4 bits, with one scale for each group of inputs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.ops.quant import GROUP

NIBBLES = 8  # of an int32 word


@dataclass(frozen=True, slots=True)
class QuantWeight:
    """A matrix [O, K] as small signed integers times a scale per group of `group` inputs.

    Attributes:
        data: 8 bits: int8 [O, K]. 4 bits: int32 [O, K // 8], each number plus 8 in a nibble:
            nibble i of word j of a group is input i * (group // 8) + j, so that a shift and a mask
            over a row of words give contiguous inputs.
        scales: [O, K // group] fp32.
        bits: 8 or 4.
        group: inputs that share a scale.
    """

    data: Tensor
    scales: Tensor
    bits: Literal[8, 4]
    group: int

    @property
    def outputs(self) -> int:
        return self.data.shape[0]

    @property
    def inputs(self) -> int:
        return self.scales.shape[1] * self.group

    def part(self, start: int, stop: int) -> "QuantWeight":
        """The rows of outputs `start` to `stop`; views."""
        return QuantWeight(self.data[start:stop], self.scales[start:stop], self.bits, self.group)


def quantize(weight: Tensor, bits: Literal[8, 4], group: int = GROUP) -> QuantWeight:
    """Round a matrix [O, K] to symmetric integers, the largest of each group at the end of range.

    Raises:
        ValueError: bits is neither 8 nor 4, the group is no multiple of 8, or K is none of it.
    """
    outputs, inputs = weight.shape
    if bits not in (8, 4):
        raise ValueError(f"weights are quantised to 8 or 4 bits, not {bits}")
    if group % NIBBLES or inputs % group:
        raise ValueError(f"{inputs} inputs do not split into groups of {group}, a multiple of 8")
    top = 2 ** (bits - 1) - 1
    grouped = weight.detach().float().view(outputs, inputs // group, group)
    scales = grouped.abs().amax(-1) / top
    # A group of zeros has scale 0; any divisor gives its zeros.
    steps = grouped / torch.where(scales == 0, 1.0, scales).unsqueeze(-1)
    whole = steps.round_().clamp_(-top, top)
    data = whole.to(torch.int8) if bits == 8 else _pack(whole)
    return QuantWeight(data.reshape(outputs, -1), scales.contiguous(), bits, group)


def dequantize(weight: QuantWeight, dtype: torch.dtype) -> Tensor:
    """The matrix [O, K] that a quantised weight stands for."""
    outputs, groups = weight.scales.shape
    data = weight.data.view(outputs, groups, -1)
    if weight.bits == 4:
        data = torch.cat([(data >> 4 * i & 0xF) - 8 for i in range(NIBBLES)], dim=-1)
    return (data.float() * weight.scales.unsqueeze(-1)).view(outputs, -1).to(dtype)


def _pack(whole: Tensor) -> Tensor:
    """Numbers [O, groups, group] of -7..7 -> words [O, groups, group // 8] int32."""
    biased = whole.to(torch.int32) + 8
    words = torch.zeros_like(biased[..., : biased.shape[-1] // NIBBLES])
    for i, nibble in enumerate(biased.chunk(NIBBLES, dim=-1)):
        words |= nibble << 4 * i
    return words
