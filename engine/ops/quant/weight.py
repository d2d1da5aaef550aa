"""Weights in 8 or 4 bits, with one scale for each group of inputs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

GROUP = 128


@dataclass(frozen=True, slots=True)
class QuantWeight:
    """A matrix [O, K] as small signed integers times a scale per group of `group` inputs.

    Attributes:
        data: int8; 8 bits: [O, K]. 4 bits: [O, K // 2], where byte j of a group holds input j in
            its low nibble and input j + group // 2 in its high one, two's complement: both halves
            unpack to contiguous inputs with shifts alone.
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


def quantize(weight: Tensor, bits: Literal[8, 4], group: int = GROUP) -> QuantWeight:
    """Round a matrix [O, K] to symmetric integers, the largest of each group at the end of range.

    Raises:
        ValueError: bits is neither 8 nor 4, the group is odd, or K is not a multiple of it.
    """
    outputs, inputs = weight.shape
    if bits not in (8, 4):
        raise ValueError(f"weights are quantised to 8 or 4 bits, not {bits}")
    if group % 2 or inputs % group:
        raise ValueError(f"{inputs} inputs do not split into even groups of {group}")
    top = 2 ** (bits - 1) - 1
    grouped = weight.detach().float().view(outputs, inputs // group, group)
    scales = grouped.abs().amax(-1) / top
    # A group of zeros has scale 0; any divisor gives its zeros.
    steps = grouped / torch.where(scales == 0, 1.0, scales).unsqueeze(-1)
    whole = steps.round_().clamp_(-top, top).to(torch.int8)
    if bits == 4:
        low, high = whole.chunk(2, dim=-1)
        whole = (low & 0x0F) | (high << 4)
    return QuantWeight(whole.reshape(outputs, -1).contiguous(), scales.contiguous(), bits, group)


def dequantize(weight: QuantWeight, dtype: torch.dtype) -> Tensor:
    """The matrix [O, K] that a quantised weight stands for."""
    outputs, groups = weight.scales.shape
    data = weight.data.view(outputs, groups, -1)
    if weight.bits == 4:
        # << 4 then >> 4 carries the sign of the low nibble down; >> is arithmetic on int8.
        data = torch.cat(((data << 4) >> 4, data >> 4), dim=-1)
    return (data.float() * weight.scales.unsqueeze(-1)).view(outputs, -1).to(dtype)
