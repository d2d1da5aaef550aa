"""Product with a quantised weight, in torch."""

from torch import Tensor
from torch.nn.functional import linear

from engine.ops.quant.weight import QuantWeight, dequantize


def quant_matvec(x: Tensor, weight: QuantWeight) -> Tensor:
    """x [N, K] times a quantised [O, K] matrix -> [N, O], in the dtype of `x`."""
    return linear(x, dequantize(weight, x.dtype))
