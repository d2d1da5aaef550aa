"""A small decoder with random weights that says varied things, for tests of what runs it."""

import torch

from engine.native.model.config import DecoderShape
from engine.native.model.decoder import Decoder

SHAPE = DecoderShape(
    layers=2,
    hidden=32,
    intermediate=48,
    heads=4,
    kv_heads=2,
    head_dim=8,
    vocab=64,
    eps=1e-6,
    rope_theta=1e4,
    max_positions=1024,
)


def tiny_decoder(shape: DecoderShape = SHAPE, seed: int = 0, device: str = "cpu") -> Decoder:
    """Weights of unit scale, so that greedy text does not fall into a loop of one token."""
    decoder = Decoder(shape, device=device)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in decoder.destinations().items():
        if name.endswith("norm.weight"):
            tensor.fill_(1.0)
        else:
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return decoder
