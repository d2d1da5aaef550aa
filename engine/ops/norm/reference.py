"""RMSNorm in torch."""

import torch
from torch import Tensor


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Add the residual, then scale each row to unit root mean square.

    Args:
        x: [N, C], the output of the last sublayer.
        weight: [C].
        eps: added to the mean square.
        residual: [N, C] or None.

    Returns:
        (normed [N, C], new residual [N, C]): the sum is rounded to the dtype of `x` before it is
        normalised, as a model does that stores it; the norm is computed in fp32. Without
        `residual` the new residual is `x` itself.
    """
    total = x if residual is None else x + residual
    wide = total.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * scale * weight.float()).to(x.dtype), total
