"""Tiny ears with random weights, and the published code's pass over a clip from other parts:
transformers' Qwen2-Audio layers and torch modules, whole clips only, no cache."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.qwen2_audio.configuration_qwen2_audio import Qwen2AudioEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

from engine.features import Float32
from engine.native.audio_stream import AudioConfig
from engine.native.audio_tower import AudioTower
from engine.native.model.adaptor import Adaptor
from engine.native.model.config import AdaptorShape, EncoderShape
from engine.native.model.encoder import Encoder

ENCODER = EncoderShape(mels=16, context=1500, state=32, heads=2, layers=3)
ADAPTOR = AdaptorShape(state=32, hidden=24, output=20)


def fill(destinations: dict[str, Tensor], seed: int) -> None:
    """Random weights that keep a signal alive through the layers."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in destinations.items():
        values = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() > 1:
            values *= 1.5 * (tensor[0].numel() ** -0.5)
        elif name.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values *= 0.2
        tensor.copy_(values)


@cache  # weights hold no state
def tiny_encoder(dtype: torch.dtype = torch.float32, seed: int = 0) -> Encoder:
    encoder = Encoder(ENCODER, dtype=dtype)
    fill(encoder.destinations(), seed)
    return encoder


@cache
def tiny_adaptor(shape: AdaptorShape = ADAPTOR, seed: int = 1) -> Adaptor:
    adaptor = Adaptor(shape)
    fill(adaptor.destinations(), seed)
    return adaptor


def tiny_tower(
    config: AudioConfig | None = None, shape: AdaptorShape = ADAPTOR, blocks: int = 128
) -> AudioTower:
    """A tower whose unused memory is poisoned."""
    encoder = tiny_encoder()
    pool = encoder.pool(blocks=blocks)
    for memory in (*pool.keys, *pool.values):
        memory.fill_(torch.nan)
    return AudioTower(encoder, tiny_adaptor(shape), pool, config)


class PublishedEar:
    """Encoder and adaptor from the same weights by their checkpoint names."""

    def __init__(self, encoder: Encoder, adaptor: Adaptor | None = None) -> None:
        shape = encoder.shape
        config = Qwen2AudioEncoderConfig(
            num_mel_bins=shape.mels,
            encoder_layers=shape.layers,
            encoder_attention_heads=shape.heads,
            encoder_ffn_dim=4 * shape.state,
            d_model=shape.state,
            max_source_positions=shape.context,
        )
        config._attn_implementation = "eager"
        self.tower = Qwen2AudioEncoder(config).eval()
        self.tower.load_state_dict(
            {_theirs(name): tensor.float() for name, tensor in encoder.destinations().items()}
        )
        self.adaptor = {} if adaptor is None else adaptor.destinations()

    @torch.inference_mode()
    def frames(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Frames [T2, state] before pooling of mel [mels, T], under an additive mask [T2, T2]."""
        x = nn.functional.gelu(self.tower.conv1(mel[None]))
        x = nn.functional.gelu(self.tower.conv2(x)).transpose(1, 2)
        x = x + self.tower.embed_positions.weight[: x.shape[1]]
        for layer in self.tower.layers:
            x = layer(x, mask[None, None])
            x = x[0] if isinstance(x, tuple) else x
        return x[0]

    @torch.inference_mode()
    def pooled(self, frames: Tensor) -> Tensor:
        x = self.tower.avg_pooler(frames.T[None]).transpose(1, 2)
        return self.tower.layer_norm(x)[0]

    @torch.inference_mode()
    def latents(self, mel: Tensor, *, fork: bool = False) -> Tensor:
        """The clip's latents [n, output], counted and masked by sections 2 and 3."""
        columns = mel.shape[1]
        length = columns if fork else columns - 2
        visible = (torch.arange(columns) < length)[(columns + 1) % 2 :: 2]
        mask = torch.where(visible, 0.0, -1e10).expand(len(visible), -1)
        x = self.pooled(self.frames(mel, mask))
        count = (length + 1) // 2 // 2
        weights = self.adaptor
        if "conv.weight" in weights:
            conv = nn.functional.conv1d(
                x.T[None], weights["conv.weight"], weights["conv.bias"], stride=2, padding=1
            )
            x = nn.functional.gelu(conv)[0].T
            count = (count + 2 - 3) // 2 + 1
        x = torch.relu(x @ weights["linear1.weight"].T + weights["linear1.bias"])
        return (x @ weights["linear2.weight"].T + weights["linear2.bias"])[:count]


def _theirs(name: str) -> str:
    for ours, theirs in {
        "blocks": "layers",
        "attn.query": "self_attn.q_proj",
        "attn.key": "self_attn.k_proj",
        "attn.value": "self_attn.v_proj",
        "attn.out": "self_attn.out_proj",
        "attn_ln": "self_attn_layer_norm",
        "mlp.0": "fc1",
        "mlp.2": "fc2",
        "mlp_ln": "final_layer_norm",
        "after_norm": "layer_norm",
        "positional_embedding": "embed_positions",
    }.items():
        name = name.replace(ours, theirs)
    return name


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative error in the Euclidean norm."""
    assert ours.shape == theirs.shape
    return float((ours.float() - theirs).norm() / theirs.norm())


def speechlike(samples: int, seed: int = 0) -> Float32:
    """Bursts of a gliding harmonic tone over faint noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16_000
    phase = 2 * np.pi * (120 * t + 20 * np.sin(2 * t + seed))
    tone = sum(np.sin(k * phase) / k for k in range(1, 9))
    loudness = 0.15 * np.clip(np.sin(2 * np.pi * 1.7 * t + seed), 0, None)
    return (tone * loudness + rng.normal(0, 1e-3, samples)).astype(np.float32)
