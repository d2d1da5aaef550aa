"""Inputs and comparisons for tests of the engine's kernels."""

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


def draw(*shape: int, device: str, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal values, the same on every device."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).to(dtype).to(device)


def wide(*tensors: Tensor) -> list[Tensor]:
    """The tensors on the CPU in fp64."""
    return [tensor.detach().cpu().double() for tensor in tensors]


def error(out: Tensor, expected: Tensor) -> float:
    """||out - expected|| / ||expected||; nan and infinities are never small."""
    assert out.shape == expected.shape
    out, expected = wide(out, expected)
    if not torch.isfinite(out).all():
        return float("inf")
    size = float(expected.norm())
    distance = float((out - expected).norm())
    return distance / size if size else distance


def close(out: Tensor, expected: Tensor, slack: float = 1.0) -> bool:
    """The error is what the dtype of `out` allows."""
    return error(out, expected) <= slack * TOLERANCE[out.dtype]
