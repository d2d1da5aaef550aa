"""The estimator of the flow's velocity: a diffusion transformer that runs chunk by chunk.

Chunks of several utterances go through it together, if they have the same number of frames: as rows
one utterance after another, two each. What an utterance keeps is its own. Blocks are adaLN-Zero
(arXiv 2212.09748) with a third, convolutional part between attention and MLP. Attention has no
positions: order enters through the causal convolutions alone.
"""

import math
from collections.abc import Sequence
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

    def forward(
        self, x: Tensor, states: Sequence[BlockState] | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Output ``[B, T, C]``, and each utterance's keys and values, the newest first."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f in (self.to_q, self.to_k, self.to_v)
        )
        q, k = self.q_norm(q), self.k_norm(k)
        kept = [(k, v)]
        if states is not None:
            fresh = zip(k.chunk(len(states)), v.chunk(len(states)), states, strict=True)
            kept = [
                (torch.cat([key, state.keys], dim=2), torch.cat([value, state.values], dim=2))
                for key, value, state in fresh
            ]
        return self.proj(_attend(q, kept).transpose(1, 2).flatten(2)), kept


def _attend(q: Tensor, kept: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Attention of each utterance's rows of ``q [B, H, T, D]`` to what it kept; together where
    that is of the same length."""
    by_length: dict[int, list[int]] = {}
    for number, (keys, _) in enumerate(kept):
        by_length.setdefault(keys.shape[2], []).append(number)
    queries = q.chunk(len(kept))
    parts = list(queries)
    for members in by_length.values():
        rows, keys, values = (
            torch.cat(several) if len(several) > 1 else several[0]
            for several in (
                [queries[number] for number in members],
                [kept[number][0] for number in members],
                [kept[number][1] for number in members],
            )
        )
        out = F.scaled_dot_product_attention(rows, keys, values)
        for number, part in zip(members, out.chunk(len(members)), strict=True):
            parts[number] = part
    return torch.cat(parts)


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

    def forward(
        self, x: Tensor, states: Sequence[BlockState] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output ``[B, T, C]`` and the two tails ``[B, C, 2]``."""
        x = x.transpose(1, 2)
        if states is None:
            first = second = x.new_zeros(*x.shape[:2], KERNEL - 1)
        else:
            first = torch.cat([state.tail1 for state in states])
            second = torch.cat([state.tail2 for state in states])
        x = torch.cat([first, x], dim=2)
        tail1 = x[:, :, 1 - KERNEL :].clone()  # a view would keep all of the chunk alive
        x = self.block[2:6](self.block[1](x))
        x = torch.cat([second, x], dim=2)
        tail2 = x[:, :, 1 - KERNEL :].clone()
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
        self, x: Tensor, modulation: tuple[Tensor, ...], states: Sequence[BlockState] | None
    ) -> tuple[Tensor, list[BlockState]]:
        """``[B, T, C]`` to ``[B, T, C]``, and the next state of each utterance. The order of the
        nine is that of the checkpoint."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_c, scale_c, gate_c = modulation
        out, kept = self.attn(_modulate(x, shift_a, scale_a), states)
        x = x + gate_a * out
        out, tail1, tail2 = self.conv(_modulate(x, shift_c, scale_c), states)
        x = x + gate_c * out
        x = x + gate_m * self.mlp(_modulate(x, shift_m, scale_m))
        tails = zip(kept, tail1.chunk(len(kept)), tail2.chunk(len(kept)), strict=True)
        return x, [BlockState(k, v, first, second) for (k, v), first, second in tails]


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
        self, x: Tensor, modulation: Modulation, states: Sequence[tuple[BlockState, ...]] | None
    ) -> tuple[Tensor, list[tuple[BlockState, ...]]]:
        """Velocity ``[B, mels, T]`` of the stacked inputs ``[B, 4 * mels, T]``, and the next
        state of each utterance by block. No ``states``: one utterance, of which nothing is kept.
        """
        x = self.in_proj(x.transpose(1, 2))
        kept = []
        for number, block in enumerate(self.blocks):
            past = None if states is None else [state[number] for state in states]
            x, new = block(x, modulation.blocks[number], past)
            kept.append(new)
        velocity = self.final_layer(x, modulation.final).transpose(1, 2)
        return velocity, list(zip(*kept, strict=True))
