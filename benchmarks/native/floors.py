"""What the device can do at most, measured: the floors that times are held against."""

from dataclasses import dataclass

import torch

from benchmarks.gpu_kernels import Ceilings, ceilings
from benchmarks.native.timing import times
from engine.native.model.decoder import Decoder, Weight


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of what is copied and multiplied."""

    copy_bytes: int = 4 << 30
    side: int = 8192


def measure_floors(device: torch.device, sizes: Sizes) -> Ceilings:
    """Rates of a large copy, read and written bytes counted, and of a large product."""
    if device.type == "cuda":
        return ceilings(sizes.copy_bytes, sizes.side)
    source = torch.rand(sizes.copy_bytes // 4)
    target = torch.empty_like(source)
    a, b = (torch.randn(sizes.side, sizes.side) for _ in range(2))
    copy_s = min(times(lambda: target.copy_(source), device, 5))
    product_s = min(times(lambda: a @ b, device, 5))
    return Ceilings(2 * sizes.copy_bytes / copy_s, 2 * sizes.side**3 / product_s)


def weight_bytes(decoder: Decoder) -> int:
    """Bytes of weights that a step reads: all but the embedding table."""
    total = _bytes(decoder.head) + _bytes(decoder.norm)
    for layer in decoder.layers:
        matrices = (layer.qkv, layer.out, layer.gate_up, layer.down)
        small = (layer.qkv_bias, layer.input_norm, layer.mlp_norm)
        total += sum(_bytes(weight) for weight in (*matrices, *small))
    return total


def decode_floor_s(decoder: Decoder, rows: int, context: int, limits: Ceilings) -> float:
    """A step of ``rows`` rows cannot be faster than its weights, keys and values are read."""
    cached = rows * context * decoder.shape.kv_bytes_per_token(decoder.dtype.itemsize)
    return (weight_bytes(decoder) + cached) / limits.bytes_per_s


def prefill_floor_s(decoder: Decoder, tokens: int, limits: Ceilings) -> float:
    """The larger of its products' operations, attention and head left out, and its bytes."""
    matrices = sum(
        weight.numel()
        for layer in decoder.layers
        for weight in (layer.qkv, layer.out, layer.gate_up, layer.down)
        if isinstance(weight, torch.Tensor)
    )
    return max(2 * matrices * tokens / limits.flops_per_s, decode_floor_s(decoder, 0, 0, limits))


def _bytes(weight: Weight) -> int:
    if isinstance(weight, torch.Tensor):
        return weight.numel() * weight.element_size()
    return _bytes(weight.data) + _bytes(weight.scales)
