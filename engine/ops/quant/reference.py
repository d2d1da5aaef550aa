"""Product with a quantised weight, in torch."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from engine.ops.quant.weight import QuantWeight, dequantize

Unpack = Callable[[QuantWeight, torch.dtype], Tensor]

# Outputs at a time: the whole of a large matrix in fp32, with its copies, would take gigabytes.
OUTPUTS_AT_ONCE = 4096


def quant_matvec(x: Tensor, weight: QuantWeight, unpack: Unpack = dequantize) -> Tensor:
    """x [N, K] times a quantised [O, K] matrix -> [N, O], in the dtype of `x`; `unpack` makes the
    matrix of a part of the outputs."""
    parts = [
        linear(x, unpack(weight.part(start, start + OUTPUTS_AT_ONCE), x.dtype))
        for start in range(0, weight.outputs, OUTPUTS_AT_ONCE)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
