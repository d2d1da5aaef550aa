"""The estimator of the flow's velocity: a diffusion transformer that runs chunk by chunk.

Blocks are adaLN-Zero (arXiv 2212.09748) with a third, convolutional part between attention and
MLP. Attention has no positions: order enters through the causal convolutions alone.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts.token2wav.config import DitConfig

FREQUENCIES = 256
KERNEL = 3


@dataclass(frozen=True, slots=True)
class BlockState:
    """What one block keeps of earlier chunks at one step of the solver.

    Keys and values are ``[B, H, T, D]``, the newest chunk first (`trim` depends on it); the
    tails ``[B, C, 2]`` are the last inputs of the two convolutions.
    """

    keys: Tensor
    values: Tensor
    tail1: Tensor
    tail2: Tensor

    def trim(self, first: int, last: int) -> "BlockState":
        """At most ``first + last`` frames; the published code cuts just so.

        Newest first, the first are the newest ``first`` frames and the last the prompt's end:
        not, as one might expect, the prompt and the newest ``last`` frames.
        """
        if self.keys.shape[2] <= first + last:
            return self
        keys, values = (
            torch.cat([x[:, :, :first], x[:, :, -last:]], dim=2) for x in (self.keys, self.values)
        )
        return BlockState(keys, values, self.tail1, self.tail2)


@dataclass(frozen=True, slots=True)
class Modulation:
    """Shifts, scales and gates of all blocks for one time: they depend on nothing else, so the
    solver's steps are worked out once."""

    blocks: tuple[tuple[Tensor, ...], ...]  # nine of [1, 1, C] for each block
    final: tuple[Tensor, ...]  # shift and scale


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Attention(nn.Module):
    """Multi-head attention with LayerNorm on queries and keys."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.to_q = nn.Linear(config.hidden, inner)
        self.to_k = nn.Linear(config.hidden, inner)
        self.to_v = nn.Linear(config.hidden, inner)
        self.q_norm = nn.LayerNorm(config.head_dim)
        self.k_norm = nn.LayerNorm(config.head_dim)
        self.proj = nn.Linear(inner, config.hidden)

    def forward(self, x: Tensor, state: BlockState | None) -> tuple[Tensor, Tensor, Tensor]:
        """Output ``[B, T, C]`` and all keys and values, the newest first."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f in (self.to_q, self.to_k, self.to_v)
        )
        q, k = self.q_norm(q), self.k_norm(k)
        if state is not None:
            k, v = torch.cat([k, state.keys], dim=2), torch.cat([v, state.values], dim=2)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2)), k, v


class _Transpose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class ConvPart(nn.Module):
    """Two causal convolutions with norm and Mish between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # In the checkpoint only places 1, 3 and 6 have weights; the rest keep the numbering.
        self.block = nn.Sequential(
            _Transpose(),
            nn.Conv1d(channels, channels, KERNEL),
            _Transpose(),
            nn.LayerNorm(channels),
            nn.Mish(),
            _Transpose(),
            nn.Conv1d(channels, channels, KERNEL),
            _Transpose(),
        )

    def forward(self, x: Tensor, state: BlockState | None) -> tuple[Tensor, Tensor, Tensor]:
        """Output ``[B, T, C]`` and the two tails."""
        x = x.transpose(1, 2)
        tails = (state.tail1, state.tail2) if state is not None else None
        x = torch.cat([x.new_zeros(*x.shape[:2], KERNEL - 1) if tails is None else tails[0], x], 2)
        tail1 = x[:, :, 1 - KERNEL :]
        x = self.block[2:6](self.block[1](x))
        x = torch.cat([x.new_zeros(*x.shape[:2], KERNEL - 1) if tails is None else tails[1], x], 2)
        tail2 = x[:, :, 1 - KERNEL :]
        return self.block[6:](x), tail1, tail2


class Mlp(nn.Module):
    """Two linears with tanh-approximated GELU."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        inner = int(config.hidden * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden, inner)
        self.fc2 = nn.Linear(inner, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class DitBlock(nn.Module):
    """Attention, convolutions, MLP; each shifted, scaled and gated by the time."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.conv = ConvPart(config.hidden)
        self.mlp = Mlp(config)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(config.hidden, 9 * config.hidden)
        )

    def forward(
        self, x: Tensor, modulation: tuple[Tensor, ...], state: BlockState | None
    ) -> tuple[Tensor, BlockState]:
        """``[B, T, C]`` to ``[B, T, C]``; the order of the nine is that of the checkpoint."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_c, scale_c, gate_c = modulation
        out, keys, values = self.attn(_modulate(x, shift_a, scale_a), state)
        x = x + gate_a * out
        out, tail1, tail2 = self.conv(_modulate(x, shift_c, scale_c), state)
        x = x + gate_c * out
        x = x + gate_m * self.mlp(_modulate(x, shift_m, scale_m))
        return x, BlockState(keys, values, tail1, tail2)


class TimeEmbedder(nn.Module):
    """Sinusoids of the time, then two linears."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )

    def forward(self, time: Tensor) -> Tensor:
        """The embedding of times ``[B]`` in [0, 1], which are fp32 whatever the weights are: a time
        that is rounded before it is multiplied by 1000 gives another angle."""
        half = FREQUENCIES // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
        angles = time[:, None] * 1000 * rates
        first = cast(nn.Linear, self.mlp[0])
        embedded = torch.cat([angles.cos(), angles.sin()], dim=-1).to(first.weight.dtype)
        out: Tensor = self.mlp(embedded)
        return out


class FinalLayer(nn.Module):
    """Norm, shift and scale by the time, and the projection to mel."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(config.hidden, 2 * config.hidden)
        )
        self.linear = nn.Linear(config.hidden, config.mels)

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        shift, scale = modulation
        out: Tensor = self.linear(_modulate(x, shift, scale))
        return out


class Dit(nn.Module):
    """Weights only; names are those of the checkpoint."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.t_embedder = TimeEmbedder(config.hidden)
        self.in_proj = nn.Linear(config.inputs, config.hidden)
        self.blocks = nn.ModuleList(DitBlock(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)

    def modulation(self, time: float) -> Modulation:
        """What ``time`` in [0, 1] does to every block."""
        weight = self.in_proj.weight
        embedded = self.t_embedder(torch.tensor([time], device=weight.device))
        embedded = embedded[:, None]
        layers = (cast(DitBlock, block).adaLN_modulation for block in self.blocks)
        blocks = (layer(embedded).chunk(9, dim=-1) for layer in layers)
        final = self.final_layer.adaLN_modulation(embedded).chunk(2, dim=-1)
        return Modulation(tuple(blocks), final)

    def forward(
        self, x: Tensor, modulation: Modulation, state: tuple[BlockState, ...] | None
    ) -> tuple[Tensor, tuple[BlockState, ...]]:
        """Velocity ``[B, mels, T]`` of the stacked inputs ``[B, 4 * mels, T]``."""
        x = self.in_proj(x.transpose(1, 2))
        kept = []
        for number, block in enumerate(self.blocks):
            past = None if state is None else state[number]
            x, new = block(x, modulation.blocks[number], past)
            kept.append(new)
        return self.final_layer(x, modulation.final).transpose(1, 2), tuple(kept)
