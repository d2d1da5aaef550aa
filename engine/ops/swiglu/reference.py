"""SwiGLU in torch."""

import torch
from torch import Tensor


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(first half) * second half: [N, 2I] -> [N, I], computed in fp32."""
    gate, up = gate_up.chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate.float()) * up.float()).to(gate_up.dtype)
