"""Recordings to latents: log-mel, the audio encoder and the adaptor, a block of 25 s at a time.

Arithmetic and names of weights are those of the code that is published with the checkpoints
(modeling_step_audio_2.py): Whisper-large-v3's encoder, pooled in time before its last norm.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from duplex_vllm.config import StepAudioEncoderConfig

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 400_000  # longer recordings are cut here
HOP, WINDOW, RIGHT_ZEROS = 160, 400, 479
BLOCK_FRAMES = (BLOCK_SAMPLES + RIGHT_ZEROS) // HOP
ADAPTOR_HIDDEN = 2048  # the published code has no setting for it


@cache
def _bank(mels: int) -> Tensor:
    bank = mel_filter_bank(
        WINDOW // 2 + 1, mels, 0.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, "slaney", "slaney"
    )
    return torch.from_numpy(bank.T.astype(np.float32))  # [mels, bins]


def log_mel(samples: Tensor, mels: int) -> Tensor:
    """Whisper's log-mel [mels, frames] of a recording [N] at 16 kHz, each block by itself.

    All blocks but the last have `BLOCK_FRAMES` frames. A last block too short for a latent is
    left out, so that a recording may have no frames.
    """
    blocks = [b for b in samples.split(BLOCK_SAMPLES) if latent_count(_frames(len(b)), 1)]
    if not blocks:
        return samples.new_empty(mels, 0)
    return torch.cat([_block_mel(block, mels) for block in blocks], dim=1)


def latents_of_blocks(frames: int, stride: int) -> list[int]:
    """How many latents each block of a recording with so many mel frames gives."""
    full, rest = divmod(frames, BLOCK_FRAMES)
    lengths = [BLOCK_FRAMES] * full + ([rest] if rest else [])
    return [latent_count(length, stride) for length in lengths]


def latent_count(frames: int, stride: int) -> int:
    """Latents of a block of so many mel frames: ``compute_token_num`` of step-audio2's utils.py."""
    pooled = (frames - 2 + 1) // 2 // 2
    return (pooled - 1) // 2 + 1 if stride > 1 else pooled


def _frames(samples: int) -> int:
    return (samples + RIGHT_ZEROS) // HOP


def _block_mel(samples: Tensor, mels: int) -> Tensor:
    padded = F.pad(samples.float(), (0, RIGHT_ZEROS))
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(padded, WINDOW, HOP, window=window, return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    log = (_bank(mels) @ power).clamp(min=1e-10).log10()
    scaled: Tensor = (log.maximum(log.max() - 8.0) + 4.0) / 4.0
    return scaled


class Attention(nn.Module):
    """Self-attention to the frames before ``visible``."""

    def __init__(self, state: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(state, state)
        self.key = nn.Linear(state, state, bias=False)
        self.value = nn.Linear(state, state)
        self.out = nn.Linear(state, state)

    def forward(self, x: Tensor, visible: int) -> Tensor:
        """x: [F, state]."""
        query = self._split(self.query(x))
        key, value = self._split(self.key(x[:visible])), self._split(self.value(x[:visible]))
        attended = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        out: Tensor = self.out(attended.transpose(0, 1).flatten(1))
        return out

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(1, (self.heads, -1)).transpose(0, 1)
        return split  # [heads, F, state / heads]


class Block(nn.Module):
    """A pre-norm layer."""

    def __init__(self, state: int, heads: int) -> None:
        super().__init__()
        self.attn_ln = nn.LayerNorm(state)
        self.attn = Attention(state, heads)
        self.mlp_ln = nn.LayerNorm(state)
        self.mlp = nn.Sequential(
            nn.Linear(state, 4 * state), nn.GELU(), nn.Linear(4 * state, state)
        )

    def forward(self, x: Tensor, visible: int) -> Tensor:
        """x: [F, state]."""
        x = x + self.attn(self.attn_ln(x), visible)
        out: Tensor = x + self.mlp(self.mlp_ln(x))
        return out


class AudioEncoder(nn.Module):
    """Log-mel to frames of 40 ms."""

    def __init__(self, config: StepAudioEncoderConfig) -> None:
        super().__init__()
        state = config.n_audio_state
        self.conv1 = nn.Conv1d(config.n_mels, state, 3, padding=1)
        self.conv2 = nn.Conv1d(state, state, 3, stride=2, padding=1)
        self.positional_embedding = nn.Embedding(config.n_audio_ctx, state)
        self.blocks = nn.ModuleList(
            [Block(state, config.n_audio_head) for _ in range(config.n_audio_layer)]
        )
        self.after_norm = nn.LayerNorm(state)

    def forward(self, mel: Tensor) -> Tensor:
        """mel: [mels, T] of one block; returns [(T + 1) // 4, state].

        The published mask hides exactly the last frame before pooling, which is still pooled.
        """
        x = F.gelu(self.conv1(mel[None]))
        x = F.gelu(self.conv2(x))[0].T
        x = x + self.positional_embedding.weight[: len(x)]
        for block in self.blocks:
            x = block(x, len(x) - 1)
        pooled = F.avg_pool1d(x.T[None], 2, 2)[0].T
        out: Tensor = self.after_norm(pooled)
        return out


class Adaptor(nn.Module):
    """Frames of the encoder to latents, which stand in place of token embeddings."""

    def __init__(self, config: StepAudioEncoderConfig) -> None:
        super().__init__()
        state = config.n_audio_state
        if config.adapter_stride > 1:
            self.conv = nn.Conv1d(state, state, 3, stride=2, padding=1)
        self.stride = max(config.adapter_stride, 1)
        self.linear1 = nn.Linear(state, ADAPTOR_HIDDEN)
        self.linear2 = nn.Linear(ADAPTOR_HIDDEN, config.llm_dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: [F, state]; returns [F or F / 2 rounded up, llm_dim]."""
        if self.stride > 1:
            x = F.gelu(self.conv(x.T[None]))[0].T
        out: Tensor = self.linear2(F.relu(self.linear1(x)))
        return out
