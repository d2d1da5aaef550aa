"""The flow encoder: embedded codes to conditioning frames at twice their rate.

Six conformer blocks (without convolution) at 25 Hz, nearest upsampling, four more at 50 Hz.
Attention has relative positions (Transformer-XL, arXiv 1901.02860, appendix B) and sees
everything so far; three tokens of look-ahead enter through one convolution. One chunk with no
state is the full pass; there is no second path for it.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts.token2wav.config import EncoderConfig


@dataclass(frozen=True, slots=True)
class EncoderState:
    """What later chunks need of earlier ones. A pair of keys and values is ``[B, H, T, D]``."""

    lookahead: Tensor  # [B, C, 2] last inputs of the look-ahead layer's second convolution
    up: Tensor  # [B, C, 2 * up_rate] last inputs of the upsampling convolution
    tokens: tuple[tuple[Tensor, Tensor], ...]  # one pair for each block at 25 Hz
    frames: tuple[tuple[Tensor, Tensor], ...]  # one pair for each block at 50 Hz


def relative_positions(keys: int, queries: int, size: int, like: Tensor) -> Tensor:
    """Sinusoids ``[keys + queries - 1, size]`` of the distances keys-1, ..., -(queries-1)."""
    distance = torch.arange(keys - 1, -queries, -1, device=like.device, dtype=torch.float32)
    rates = torch.exp(
        torch.arange(0, size, 2, device=like.device, dtype=torch.float32)
        * -(math.log(10_000.0) / size)
    )
    angles = distance[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


class RelativeAttention(nn.Module):
    """Self-attention of the newest frames to all, with relative positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, self.heads = config.size, config.heads
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size, bias=config.key_bias)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(self.heads, size // self.heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(self.heads, size // self.heads))

    def _split(self, x: Tensor) -> Tensor:
        """``[B, T, C]`` to ``[B, H, T, D]``."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = (self._split(f(x)) for f in (self.linear_q, self.linear_k, self.linear_v))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        batch, heads, queries, dim = q.shape
        keys = k.shape[2]
        position = relative_positions(keys, queries, heads * dim, x)
        position = self._split(self.linear_pos(position)[None])  # [1, H, L, D]
        by_distance = (q + self.pos_bias_v[:, None]) @ position.transpose(-2, -1)  # [B, H, Q, L]
        # Query i and key j are keys-queries+i-j apart, which is column queries-1-i+j: each row
        # starts one column earlier than the one above it.
        width = keys + queries - 1
        bias = by_distance.contiguous().as_strided(
            (batch, heads, queries, keys),
            (heads * queries * width, queries * width, width - 1, 1),
            queries - 1,
        )
        out = F.scaled_dot_product_attention(
            q + self.pos_bias_u[:, None], k, v, attn_mask=bias / math.sqrt(dim)
        )
        return self.linear_out(out.transpose(1, 2).flatten(2)), (k, v)


class FeedForward(nn.Module):
    """Two linears with SiLU between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.size, config.feed_forward)
        self.w_2 = nn.Linear(config.feed_forward, config.size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w_2(F.silu(self.w_1(x)))
        return out


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(config)
        self.feed_forward = FeedForward(config)
        self.norm_mha = nn.LayerNorm(config.size, eps=1e-12)
        self.norm_ff = nn.LayerNorm(config.size, eps=1e-12)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, past = self.self_attn(self.norm_mha(x), past)
        x = x + attended
        return x + self.feed_forward(self.norm_ff(x)), past


class InputLayer(nn.Module):
    """Linear, norm, and the factor sqrt(C) of sinusoidal positions."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(inputs, size), nn.LayerNorm(size, eps=1e-5))
        self.scale = math.sqrt(size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x)
        return out * self.scale


class LookaheadLayer(nn.Module):
    """Lets each token see the next ``lookahead`` ones: T + lookahead tokens in, T out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.lookahead = config.lookahead
        self.conv1 = nn.Conv1d(config.size, config.size, config.lookahead + 1)
        self.conv2 = nn.Conv1d(config.size, config.size, 3)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        ahead = F.leaky_relu(self.conv1(x.transpose(1, 2)))
        if past is None:
            past = ahead.new_zeros(*ahead.shape[:2], 2)
        ahead = torch.cat([past, ahead], dim=2)
        out = self.conv2(ahead).transpose(1, 2) + x[:, : -self.lookahead]
        return out, ahead[:, :, -2:]


class UpsampleLayer(nn.Module):
    """Each token ``rate`` times over, then a causal convolution."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.rate = config.up_rate
        self.conv = nn.Conv1d(config.size, config.size, 2 * config.up_rate + 1)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        frames = x.transpose(1, 2).repeat_interleave(self.rate, dim=2)
        if past is None:
            past = frames.new_zeros(*frames.shape[:2], 2 * self.rate)
        frames = torch.cat([past, frames], dim=2)
        return self.conv(frames).transpose(1, 2), frames[:, :, -2 * self.rate :]


class FlowEncoder(nn.Module):
    """Weights only; names are those of the checkpoint."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embed = InputLayer(config.input_size, config.size)
        self.pre_lookahead_layer = LookaheadLayer(config)
        self.encoders = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.up_layer = UpsampleLayer(config)
        self.up_embed = InputLayer(config.input_size, config.size)
        self.up_encoders = nn.ModuleList(Block(config) for _ in range(config.up_blocks))
        self.after_norm = nn.LayerNorm(config.size, eps=1e-5)

    def forward(
        self, x: Tensor, state: EncoderState | None, *, final: bool
    ) -> tuple[Tensor, EncoderState]:
        """Frames ``[B, 2 * (T - lookahead), C]`` of embedded codes ``[B, T, C]``.

        The last ``lookahead`` codes are only looked at and come again with the next chunk,
        unless ``final``: then nothing follows them and all codes give frames.
        """
        x = self.embed(x)
        if final:
            x = F.pad(x, (0, 0, 0, self.pre_lookahead_layer.lookahead))
        x, lookahead = self.pre_lookahead_layer(x, None if state is None else state.lookahead)
        x, tokens = _through(self.encoders, x, None if state is None else state.tokens)
        x, up = self.up_layer(x, None if state is None else state.up)
        x = self.up_embed(x)
        x, frames = _through(self.up_encoders, x, None if state is None else state.frames)
        return self.after_norm(x), EncoderState(lookahead, up, tokens, frames)


def _through(
    blocks: nn.ModuleList, x: Tensor, past: tuple[tuple[Tensor, Tensor], ...] | None
) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
    kept = []
    for number, block in enumerate(blocks):
        x, pair = block(x, None if past is None else past[number])
        kept.append(pair)
    return x, tuple(kept)


def forget(
    state: EncoderState, prompt_tokens: int, limit_tokens: int, up_rate: int
) -> EncoderState:
    """``state`` with at most ``limit_tokens`` tokens: the prompt's and the newest."""

    def cut(pair: tuple[Tensor, Tensor], rate: int) -> tuple[Tensor, Tensor]:
        first, last = prompt_tokens * rate, (limit_tokens - prompt_tokens) * rate
        keys, values = (torch.cat([x[:, :, :first], x[:, :, -last:]], dim=2) for x in pair)
        return keys, values

    if state.tokens[0][0].shape[2] <= limit_tokens:
        return state
    return replace(
        state,
        tokens=tuple(cut(pair, 1) for pair in state.tokens),
        frames=tuple(cut(pair, up_rate) for pair in state.frames),
    )
